"""Biases become the floats that they stood for."""

import numpy as np
import onnx_ir as ir
import pytest

from passes import FloatBiases, QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid


@pytest.mark.parametrize("bits", [8, 4])
def test_values_stay(mixed, run, rng, bits):
    """A net with every operator computes the same bits with float biases in all its layers."""
    model = mixed(bits, 8)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert FloatBiases()(model).modified
    biases = [n.inputs[2] for n in model.graph if n.op_type == "Conv" and len(n.inputs) > 2]
    assert len(biases) == 6
    assert all(b.is_initializer() and b.dtype == ir.DataType.FLOAT for b in biases)
    for name, expected in run(model, x=x).items():
        np.testing.assert_array_equal(expected, before[name])


def test_integers_that_float32_cannot_hold(build, run, rng):
    """DequantizeLinear rounds a bias above 2²⁴ to float32, and so does the pass."""
    model = build(
        "(float[1,2] x) => (float[1,3] y) { y = Gemm(x, w, b) }",
        w=rng.normal(0, 2.0**-20, (2, 3)).astype(np.float32),
        b=np.float32([1.2345678, -0.7654321, 3e-6]),
    )
    QuantizeActivations({"x": Grid(0, 8, True)})(model)
    QuantizeWeights()(model)
    stored = model.graph[-1].inputs[2].producer().inputs[0].const_value.numpy()
    assert np.abs(stored).max() > 2**24
    x = np.zeros((1, 2), np.float32)
    expected = run(model, x=x)["y"]
    FloatBiases()(model)
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_others_are_left_alone(build):
    """A float bias, a layer without one, and a sum that is no layer stay."""
    model = build(
        "(float[1,2] x) => (float[1,3] y) { a = Gemm(x, w, b) c = MatMul(x, w) y = Add(a, c) }",
        w=np.ones((2, 3), np.float32),
        b=np.ones(3, np.float32),
    )
    assert not FloatBiases()(model).modified
