"""What a logit becomes decides its grid: from the graph of a head to the threshold."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import SplitBranches
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import fake_quantize
from tests.passes.helpers import build_model
from zqc.calibration.distances import identity, sigmoid, softplus
from zqc.calibration.histogram import add, empty
from zqc.calibration.thresholds import choose_grid

HEAD = """(float[1,3,4,4] x) => (float[n,a,m] boxes, float[n,b,m] scores) {
    box_logits = Conv(x, box_weight)
    class_logits = Conv(x, class_weight)
    head = Concat<axis=1>(box_logits, class_logits)
    flat = Reshape(head, shape)
    near, far = Split<axis=1>(flat, sizes)
    bins = Reshape(near, binned)
    turned = Transpose<perm=[0,2,1,3]>(bins)
    shares = Softmax<axis=1>(turned)
    boxes = Reshape(shares, unbinned)
    scores = Sigmoid(far)
}"""


def head(rng):
    """A YOLOv8 head: four sides of five bins, six classes, on 16 places."""
    return build_model(
        HEAD,
        box_weight=rng.normal(size=(20, 3, 1, 1)).astype(np.float32),
        class_weight=rng.normal(size=(6, 3, 1, 1)).astype(np.float32),
        shape=np.array([1, 26, 16]),
        sizes=np.array([20, 6]),
        binned=np.array([1, 4, 5, 16]),
        unbinned=np.array([1, 20, 16]),
    )


def squashed_by(model):
    """What squashes the values of each point, by the point's first tensor."""
    return {p.names[0]: p.squashed_by for p in quantization_points(model.graph)}


def test_branches_of_a_head_are_seen_through_after_they_are_split(rng):
    """On one Concat box bins and classes count as they are; apart, each counts as what it becomes.

    The tensor before and after moves of values is meant: Reshape, Transpose, Concat and Split.
    """
    model = head(rng)
    before = squashed_by(model)
    assert before == {"x": "", "box_logits": "", "class_logits": ""}
    SplitBranches()(model)
    RemoveUnusedNodesPass()(model)
    after = squashed_by(model)
    assert after["x"] == ""
    assert after["box_logits"] == "Softmax"
    assert after["class_logits"] == "Sigmoid"


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_a_long_negative_tail_does_not_widen_the_grid(rng, function, bits):
    """The threshold is smaller than the one of least squared error, and so is the error of f(x)."""
    logits = np.append(rng.normal(-18, 5, 20000), rng.normal(0, 2, 600)).astype(np.float32)
    histogram = add(empty(), logits)
    plain, seen = (
        choose_grid(histogram, bits=bits, signed=True, seen_through=f) for f in (identity, function)
    )
    assert seen.exponent < plain.exponent
    exact = function(logits.astype(np.float64))
    errors = []
    for grid in (plain, seen):
        rounded = fake_quantize(logits, grid.scale, bits=bits, signed=True)
        errors.append(np.mean((function(rounded.astype(np.float64)) - exact) ** 2))
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_every_grid_is_good_enough_for_logits_that_say_nothing(function):
    """Where all scores are 0 on any grid, a choice is still made and holds the scores at 0."""
    logits = np.linspace(-300, -200, 1000).astype(np.float32)
    grid = choose_grid(add(empty(), logits), bits=8, signed=True, seen_through=function)
    rounded = fake_quantize(logits, grid.scale, bits=8, signed=True)
    assert function(rounded.astype(np.float64)).max() < 1e-3
