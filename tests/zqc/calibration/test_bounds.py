"""Ranges that follow from the graph."""

import numpy as np
import pytest

from passes.analysis.bounds import known_bound
from tests.passes.helpers import build_model, run_model
from zqc.calibration.thresholds import grid_up_to

NET = """(float[n,6] x) => (float[n,6] y) {
    sigmoid = Sigmoid(x)
    softmax = Softmax(x)
    hard = HardSigmoid(x)
    relu = Relu(x)
    relu6 = Clip(x, zero, six)
    signed = Clip(x, minus, six)
    unbounded = Clip(x, zero)
    endless = Clip(x, zero, infinity)
    y = Add(x, x)
}"""
BOUNDS = {"sigmoid": 1.0, "softmax": 1.0, "hard": 1.0, "relu6": 6.0}


def test_bounds_hold_and_are_reached(rng):
    """Known are those of squashing functions and of Clip from 0; no value exceeds them."""
    constants = {"zero": 0, "six": 6, "minus": -1, "infinity": np.inf}
    model = build_model(NET, **{name: np.float32(x) for name, x in constants.items()})
    values = {v.name: v for node in model.graph for v in node.outputs}
    found = {name: known_bound(value) for name, value in values.items()}
    assert {name: bound for name, bound in found.items() if bound is not None} == BOUNDS
    assert known_bound(model.graph.inputs[0]) is None
    model.graph.outputs[:] = [values[name] for name in BOUNDS]
    outputs = run_model(model, x=rng.normal(0, 60, (50, 6)).astype(np.float32))
    for name, bound in BOUNDS.items():
        assert outputs[name].min() >= 0
        assert outputs[name].max() == pytest.approx(bound)


@pytest.mark.parametrize(("bound", "threshold"), [(1.0, 1), (6.0, 8), (0.7, 1), (8.5, 16)])
def test_the_grid_is_the_smallest_that_reaches_the_bound(bound, threshold):
    """Its threshold is the next power of two."""
    grid = grid_up_to(bound, bits=4)
    assert (grid.threshold, grid.signed, grid.shift) == (threshold, False, 0)
