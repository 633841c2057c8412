"""ONNX Runtime loads maxima of 4-bit tensors."""

import numpy as np
import pytest

from passes import QuantizeActivations, WideMaxima
from passes.arithmetic import Grid
from zqc.runtime import session

GRIDS = {
    "signed": Grid(1, 4, signed=True),
    "unsigned": Grid(1, 4, signed=False),
    "shifted": Grid(1, 4, signed=False, shift=3),
}
EVERY_GRID = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
MAXIMA = {
    "MaxPool": "MaxPool<kernel_shape=[2,2]>(a)",
    "ReduceMax": "ReduceMax<keepdims=1>(a, axes)",
    "ReduceMin": "ReduceMin<keepdims=1>(a, axes)",
}


def model_of(build, operator, grids, end="y = Sigmoid(m)"):
    """Quantized tensors on both sides of an operator."""
    text = f"(float[1,4,4,4] x) => (float y) {{ a = Neg(x) m = {operator} {end} }}"
    model = build(text, **({"axes": np.array([2, 3])} if "axes" in text else {}))
    QuantizeActivations(grids)(model)
    return model


def kinds(model):
    """Integer type of every QuantizeLinear in graph order."""
    return [n.inputs[2].dtype.name for n in model.graph if n.op_type == "QuantizeLinear"]


@EVERY_GRID
@pytest.mark.parametrize("operator", MAXIMA.values(), ids=MAXIMA)
def test_the_pair_behind_has_eight_bits(build, run, rng, operator, grid):
    """ONNX Runtime loads the model, and every bit of the output stays."""
    model = model_of(build, operator, {"a": grid, "m": grid})
    x = rng.normal(0, 1.5, (1, 4, 4, 4)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert WideMaxima()(model).modified
    sign = "INT" if grid.signed else "UINT"
    assert kinds(model) == [f"{sign}4", f"{sign}8"]
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    np.testing.assert_allclose(session.load(model, threads=1)({"x": x})["y"], expected, atol=1e-6)


def test_a_chain_of_maxima(build, run, rng):
    """Behind one maximum that was widened the next one is, too."""
    grid = GRIDS["shifted"]
    end = "k = MaxPool<kernel_shape=[2,2]>(m) y = Sigmoid(k)"
    model = model_of(build, MAXIMA["MaxPool"], dict.fromkeys("amk", grid), end)
    x = rng.normal(0, 1.5, (1, 4, 4, 4)).astype(np.float32)
    expected = run(model, x=x)["y"]
    WideMaxima()(model)
    assert kinds(model) == ["UINT4", "UINT8", "UINT8"]
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)
    np.testing.assert_allclose(session.load(model, threads=1)({"x": x})["y"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "before", "behind"),
    [
        ("MaxPool<kernel_shape=[2,2]>(a)", Grid(1, 8, signed=False), Grid(1, 8, signed=False)),
        ("MaxPool<kernel_shape=[2,2]>(a)", Grid(1, 4, signed=False), Grid(0, 4, signed=False)),
        ("MaxPool<kernel_shape=[2,2]>(a)", Grid(1, 8, signed=False), Grid(-3, 4, signed=False)),
        ("Transpose<perm=[0,1,3,2]>(a)", Grid(1, 4, signed=False), Grid(1, 4, signed=False)),
    ],
)
def test_what_loads_is_left_alone(build, rng, operator, before, behind):
    """8 bits, unlike grids, where 4 bits clip, and other operators are no trouble."""
    model = model_of(build, operator, {"a": before, "m": behind})
    assert not WideMaxima()(model).modified
    x = rng.normal(size=(1, 4, 4, 4)).astype(np.float32)
    assert np.isfinite(session.load(model, threads=1)({"x": x})["y"]).all()
