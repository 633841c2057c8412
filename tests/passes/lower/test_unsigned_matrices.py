"""Constant matrices become UINT8 without changing a value."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights, ScalarScales, UnsignedMatrices
from passes.arithmetic import Grid

NET = "(float[2,4] x) => (float[n,c] y) { a = MatMul(x, w) y = Gemm(a, v) }"


def quantized(build, rng, bits, **options):
    """A MatMul and a Gemm with integer weights."""
    w, v = rng.normal(size=(2, 4, 4)).astype(np.float32)
    model = build(NET, w=w, v=v)
    QuantizeActivations({name: Grid(2, 8, True) for name in ("x", "a")})(model)
    QuantizeWeights(bits=bits, first_last_bits=bits, **options)(model)
    return model


@pytest.mark.parametrize("bits", [8, 4])
def test_values_stay(build, run, rng, bits):
    """The matrix of a MatMul is UINT8 with zero point 128; that of a Gemm stays signed."""
    model = quantized(build, rng, bits, per_tensor={"MatMul", "Gemm"})
    ScalarScales()(model)
    x = rng.normal(size=(2, 4)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert UnsignedMatrices()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    kinds = {
        node.op_type: node.inputs[1].producer().inputs[0].dtype
        for node in model.graph
        if node.op_type in ("MatMul", "Gemm")
    }
    assert kinds["MatMul"] == ir.DataType.UINT8
    assert kinds["Gemm"] != ir.DataType.UINT8
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_a_scale_per_column_stays(build, rng):
    """A matrix with a scale per column is declined."""
    assert not UnsignedMatrices()(quantized(build, rng, 8)).modified
