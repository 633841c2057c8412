"""ONNX Runtime loads what moves signed tensors in float."""

import numpy as np
import pytest

from passes import PairsBehindLayout, QuantizeActivations, SignedActivations
from passes.arithmetic import Grid
from zqc.runtime import session

SIGNED = Grid(1, 8, signed=True)
MOVES = {
    "MaxPool": "MaxPool<kernel_shape=[2,2]>(a)",
    "Reshape": "Reshape(a, shape)",
    "Slice": "Slice(a, zero, two)",
    "Squeeze": "Squeeze(a, zero)",
    "Transpose": "Transpose<perm=[0,1,3,2]>(a)",
    "Unsqueeze": "Unsqueeze(a, zero)",
}


def model_of(build, move, grid=SIGNED, *, opset=21, end="y = Sigmoid(m)", more=""):
    """A quantized tensor that is moved and then goes on in float."""
    text = f"(float[1,4,4,4] x) => (float[...] y{more}) {{ a = Neg(x) m = {move} {end} }}"
    text = text.replace("float[...]", "float")
    known = {"shape": np.array([4, 16]), "zero": np.array([0]), "two": np.array([2])}
    used = {name: array for name, array in known.items() if name in text}
    model = build(text, opset=opset, **used)
    QuantizeActivations({"a": grid})(model)
    return model


def pictures(rng):
    """Values inside and outside of the grid."""
    return rng.normal(0, 1.5, (1, 4, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_pair_follows_every_move(build, run, operators, rng, move):
    """ONNX Runtime refuses the model before and loads it after; every bit of the output stays."""
    model, x = model_of(build, move), pictures(rng)
    expected = run(model, x=x)["y"]
    assert PairsBehindLayout()(model).modified
    assert operators(model)[-3:] == ["QuantizeLinear", "DequantizeLinear", "Sigmoid"]
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    np.testing.assert_allclose(session.load(model, threads=1)({"x": x})["y"], expected, atol=1e-6)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shift", [0, 2])
def test_every_type_on_request(build, run, operators, rng, bits, shift):
    """Unsigned tensors, shifted or not, get pairs of their own grid before they become INT8."""
    grid = Grid(1, bits, signed=False, shift=shift)
    model, x = model_of(build, MOVES["Transpose"], grid), pictures(rng)
    expected = run(model, x=x)["y"]
    assert not PairsBehindLayout()(model).modified
    assert PairsBehindLayout(every=True)(model).modified
    assert operators(model).count("QuantizeLinear") == 2
    assert SignedActivations()(model).modified
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    np.testing.assert_allclose(session.load(model, threads=1)({"x": x})["y"], expected, atol=1e-6)


def test_moves_of_moves(build, run, operators, rng):
    """Each of several moves gets a pair, and one that is a graph output keeps its name."""
    end = "n = Transpose<perm=[1,0]>(m) y = Neg(n)"
    model, x = model_of(build, MOVES["Reshape"], end=end, more=", float n"), pictures(rng)
    expected = run(model, x=x)
    PairsBehindLayout()(model)
    assert operators(model).count("QuantizeLinear") == 3
    actual, fused = run(model, x=x), session.load(model, threads=1)({"x": x})
    for name in ("y", "n"):
        np.testing.assert_array_equal(actual[name], expected[name])
        np.testing.assert_array_equal(fused[name], expected[name])


@pytest.mark.parametrize(
    ("move", "grid", "opset"),
    [
        ("Reshape(a, shape)", SIGNED, 20),
        ("Reshape(a, shape)", Grid(1, 8, signed=False), 21),
        ("Reshape(a, shape)", Grid(1, 4, signed=True), 21),
        ("Flatten(a)", SIGNED, 21),
        ("Neg(a)", SIGNED, 21),
    ],
)
def test_what_loads_is_left_alone(build, rng, move, grid, opset):
    """Older opsets, other types and other operators are no trouble, and nothing changes."""
    model = model_of(build, move, grid, opset=opset)
    assert not PairsBehindLayout()(model).modified
    assert len(session.load(model, threads=1)({"x": pictures(rng)})["y"])


def test_a_pair_that_is_there_is_enough(build):
    """A move whose result is quantized already is left alone."""
    model = model_of(build, MOVES["Transpose"])
    QuantizeActivations({"m": SIGNED})(model)
    assert not PairsBehindLayout()(model).modified
