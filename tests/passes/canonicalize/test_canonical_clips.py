"""ReLU, ReLU6 and other clips in their spellings."""

import numpy as np
import pytest

from passes import CanonicalClips
from tests.passes.helpers import build_model, operator_types, run_model

CONSTANTS = {
    "zero": 0.0,
    "six": 6.0,
    "one": np.ones((1, 1), np.float32),
    "minus": -2.0,
    "cube": np.zeros((1, 1, 1), np.float32),
    "slope": np.array([0.25], np.float32),
    "slopes": np.array([0.1, 0.2, 0.3], np.float32),
}


def rewritten(body, outputs="float[5,3] y"):
    """Operators after the pass; the values must be the same bits."""
    used = {name: value for name, value in CONSTANTS.items() if name in body}
    if "slopes" in body:
        used.pop("slope")
    model = build_model(f"(float[5,3] x) => ({outputs}) {{ {body} }}", **used)
    x = np.random.default_rng(3).normal(0, 5, (5, 3)).astype(np.float32)
    before = run_model(model, x=x)
    modified = CanonicalClips()(model).modified
    for name, values in run_model(model, x=x).items():
        np.testing.assert_array_equal(values, before[name])
    bounds = [
        [None if v is None else float(v.const_value.numpy()) for v in node.inputs[1:]]
        for node in model.graph
        if node.op_type == "Clip"
    ]
    return (operator_types(model), bounds) if modified else None


@pytest.mark.parametrize(
    "body",
    [
        "r = Relu(x) y = Min(r, six)",
        "r = Relu(x) y = Min(six, r)",
        "r = Max(x, zero) y = Min(r, six)",
        "r = Min(x, six) y = Max(zero, r)",
        "r = Min(x, six) y = Relu(r)",
        "r = Clip(x, zero) y = Clip(r, , six)",
        "r = Clip(x, minus, six) y = Relu(r)",
        "r = Relu(x) s = Min(r, six) y = Max(s, minus)",
    ],
)
def test_every_relu6(body):
    """Whatever it is put together from, it is one Clip from 0 to 6."""
    assert rewritten(body) == (["Clip"], [[0.0, 6.0]])


@pytest.mark.parametrize(
    "body", ["y = Max(x, zero)", "y = Max(zero, x)", "r = Relu(x) y = Relu(r)"]
)
def test_every_relu(body):
    """A lower bound of 0 alone is a Relu."""
    assert rewritten(body) == (["Relu"], [])


def test_bounds_that_meet():
    """Of bounds that exclude each other the outer ones win, as in the graph."""
    assert rewritten("r = Max(x, six) y = Min(r, one)") == (["Clip"], [[1.0, 1.0]])


def test_one_slope():
    """A PRelu with one slope is a LeakyRelu."""
    assert rewritten("y = PRelu(x, slope)") == (["LeakyRelu"], [])


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Clip(x, zero, six)", "float[5,3] y"),
        ("y = Relu(x)", "float[5,3] y"),
        ("y = Min(x, six)", "float[5,3] y"),
        ("y = Max(x, cube)", "float[1,5,3] y"),
        ("r = Relu(x) y = Min(r, six) z = Neg(r)", "float[5,3] y, float[5,3] z"),
        ("r = Relu(x) y = Min(r, x)", "float[5,3] y"),
        ("y = Min(x, six, zero)", "float[5,3] y"),
        ("y = PRelu(x, slopes)", "float[5,3] y"),
    ],
)
def test_left_alone(body, outputs):
    """Single ones, results that are read elsewhere, tensors as bounds, slopes per channel."""
    assert rewritten(body, outputs) is None
