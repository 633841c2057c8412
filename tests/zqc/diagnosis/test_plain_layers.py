"""Layers of integers, written as float layers."""

import numpy as np
import onnx_ir as ir

from tests.passes.helpers import build_model, run_model
from zqc.diagnosis.plain_layers import plain_layers
from zqc.diagnosis.read_quantized import read

QLINEAR = """(float[1,2,4,4] x) => (float[1,3,4,4] y) {
    q = QuantizeLinear(x, xs, xz)
    c = QLinearConv(q, xs, xz, w, ws, wz, ys, yz, b)
    y = DequantizeLinear(c, ys, yz)
}"""


def qlinear(rng):
    """A QLinearConv between a quantizer and a dequantizer."""
    return build_model(
        QLINEAR,
        opset=13,
        xs=0.02,
        xz=np.uint8(128),
        w=rng.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8),
        ws=np.array([0.01, 0.02, 0.03], np.float32),
        wz=np.zeros(3, np.int8),
        ys=0.05,
        yz=np.uint8(120),
        b=np.array([100, -200, 300], np.int32),
    )


def test_integer_layers_become_float_ones_between_pairs(rng):
    """QLinearConv computes the same as a Conv of dequantized operands, but for one step."""
    model = qlinear(rng)
    x = rng.uniform(-2, 2, (1, 2, 4, 4)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    plain = ir.from_proto(ir.to_proto(model))
    plain_layers(plain.graph)
    types = {node.op_type for node in plain.graph}
    assert types == {"QuantizeLinear", "DequantizeLinear", "Conv", "Mul"}
    assert np.abs(run_model(plain, x=x)["y"] - expected).max() <= 0.05 + 1e-6
    (layer,) = read(model, {"x": x}).layers
    assert layer.bits == 8
    np.testing.assert_allclose(layer.bias, [0.02, -0.08, 0.18], rtol=1e-6)


def test_integer_products_become_float_ones(rng):
    """QLinearMatMul, of which each column of weights may have its own step."""
    model = build_model(
        """(float[2,4] x) => (float[2,3] y) {
            q = QuantizeLinear(x, xs, xz)
            c = QLinearMatMul(q, xs, xz, w, ws, wz, ys, yz)
            y = DequantizeLinear(c, ys, yz)
        }""",
        opset=13,
        xs=0.02,
        xz=np.uint8(128),
        w=rng.integers(-127, 128, (4, 3)).astype(np.int8),
        ws=np.array([0.01, 0.02, 0.03], np.float32),
        wz=np.zeros(3, np.int8),
        ys=0.1,
        yz=np.uint8(120),
    )
    x = rng.uniform(-2, 2, (2, 4)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    plain_layers(model.graph)
    assert {node.op_type for node in model.graph} == {
        "QuantizeLinear",
        "DequantizeLinear",
        "MatMul",
    }
    assert np.abs(run_model(model, x=x)["y"] - expected).max() <= 0.1 + 1e-6


def test_float_layers_stay():
    """Nothing is done where there are no integers, nor to operators of another domain."""
    text = "(float[1,2,4,4] x) => (float[1,3,4,4] y) { y = Conv(x, w) }"
    model = build_model(text, w=np.ones((3, 2, 1, 1), np.float32))
    plain_layers(model.graph)
    assert [node.op_type for node in model.graph] == ["Conv"]
