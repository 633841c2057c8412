"""Clips before 4-bit tensors become Min and Max, and ONNX Runtime can load them."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, SplitClips
from passes.arithmetic import Grid
from zqc.errors import RuntimeFailure
from zqc.runtime import session

BOUNDS = {"zero": 0.0, "six": 6.0}


def model_of(build, function, grid):
    """A Clip whose result is quantized."""
    read = {name: bound for name, bound in BOUNDS.items() if name in function}
    body = f"m = Neg(x) a = {function} y = Neg(a)"
    model = build(f"(float[n] x) => (float[n] y) {{ {body} }}", **read)
    QuantizeActivations({"a": grid})(model)
    return model


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("function", "kinds"),
    [
        ("Clip(m, zero, six)", ["Min", "Max"]),
        ("Clip(m, zero)", ["Max"]),
        ("Clip(m, , six)", ["Min"]),
    ],
)
def test_values_stay(build, run, operators, function, kinds, signed):
    """Each bound that is there becomes one operator, and every value stays."""
    model = model_of(build, function, Grid(3, 4, signed))
    x = np.linspace(-9, 9, 1001, dtype=np.float32)
    expected = run(model, x=x)["y"]
    assert SplitClips()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert operators(model)[1:-3] == kinds
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_onnx_runtime_loads_it(build):
    """With its optimizer it refuses the Clip, and takes what the pass makes of it.

    Where the first half fails, ONNX Runtime has been mended and the pass may go.
    """
    model = model_of(build, "Clip(m, zero, six)", Grid(3, 4, False))
    with pytest.raises(RuntimeFailure, match="Unexpected data type"):
        session.load(model)
    SplitClips()(model)
    session.load(model)


def test_others_stay(build):
    """8-bit tensors have no such trouble."""
    model = model_of(build, "Clip(m, zero, six)", Grid(3, 8, False))
    assert not SplitClips()(model).modified
