"""What is known of the values of a tensor before any picture is seen."""

import math

import numpy as np
import pytest

from passes.analysis.bounds import clip_bounds, known_bound, upper_bound
from tests.passes.helpers import build_model, run_model

BOUNDED = """(float[n,6] x) => (float[n,6] y) {
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
    model = build_model(BOUNDED, **{name: np.float32(x) for name, x in constants.items()})
    values = {v.name: v for node in model.graph for v in node.outputs}
    found = {name: known_bound(value) for name, value in values.items()}
    assert {name: bound for name, bound in found.items() if bound is not None} == BOUNDS
    assert known_bound(model.graph.inputs[0]) is None
    model.graph.outputs[:] = [values[name] for name in BOUNDS]
    outputs = run_model(model, x=rng.normal(0, 60, (50, 6)).astype(np.float32))
    for name, bound in BOUNDS.items():
        assert outputs[name].min() >= 0
        assert outputs[name].max() == pytest.approx(bound)


def test_bounds_of_clips():
    """Both bounds, infinite where there is none; nothing where one is computed or it is no Clip."""
    model = build_model(
        """(float[2] x, float b) => (float[2] y) {
            p = Clip(x, low, high) q = Clip(p, , high) r = Clip(q, low) s = Clip(r, b) y = Neg(s)
        }""",
        low=0.0,
        high=6.0,
    )
    bounds = [(0, 6), (-math.inf, 6), (0, math.inf), None, None]
    assert [clip_bounds(node) for node in model.graph] == bounds
    assert [upper_bound(node) for node in model.graph] == [6, None, math.inf, None, None]


@pytest.mark.parametrize(
    ("shape", "axis", "bound"),
    [
        ("4,64", -1, 1.0),
        ("4,65", -1, None),
        ("100,16", 0, None),
        ("100,16", 1, 1.0),
        ("4,n", 1, None),
    ],
)
def test_a_softmax_over_many_values_has_no_known_end(shape, axis, bound):
    """The largest of thousands that add up to 1 is far below it; what counts is its own axis."""
    text = f"(float[{shape}] x) => (float[{shape}] y) {{ y = Softmax<axis={axis}>(x) }}"
    assert known_bound(build_model(text).graph[0].outputs[0]) == bound
