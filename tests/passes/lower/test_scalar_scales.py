"""Equal scales become one number."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, QuantizeWeights, ScalarScales
from passes.arithmetic import Grid

LAYERS = {
    "Conv": ("(float[2,4,6,6] x) => (float[n,c,h,w] y) { y = Conv(x, w, b) }", (6, 4, 3, 3)),
    "Gemm": ("(float[2,4] x) => (float[n,c] y) { y = Gemm(x, w, b) }", (4, 6)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_values_stay(build, run, rng, layer):
    """Weights and biases that were quantized per tensor have a scalar scale and the same values."""
    text, shape = LAYERS[layer]
    w, b = (rng.normal(size=s).astype(np.float32) for s in (shape, 6))
    model = build(text, w=w, b=b)
    QuantizeActivations({"x": Grid(2, 8, True)})(model)
    QuantizeWeights(per_tensor={layer})(model)
    x = rng.normal(size=list(model.graph.inputs[0].shape)).astype(np.float32)
    expected = run(model, x=x)["y"]
    assert ScalarScales()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for value in model.graph[-1].inputs:
        dequantizer = value.producer()
        assert dequantizer.inputs[1].const_value.numpy().shape == ()
        assert "axis" not in dequantizer.attributes
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_unequal_scales_stay(build):
    """Weights with a scale per channel are left alone."""
    model = build(LAYERS["Gemm"][0], w=np.float32([[1, 8, 64]] * 4), b=np.ones(3, np.float32))
    QuantizeActivations({"x": Grid(2, 8, True)})(model)
    QuantizeWeights()(model)
    assert not ScalarScales()(model).modified
