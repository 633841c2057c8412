"""Gradients through QuantizeLinear and DequantizeLinear, against PyTorch."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from zqc.autodiff.engine import gradient
from zqc.errors import UnsupportedOperatorError
from zqc.runtime import session

torch = pytest.importorskip("torch")

GRAPH = """(float[2,3,5] x, {scale} k) => (float loss) {{
    n = Round(k)
    s = Pow(two, n)
    q = QuantizeLinear<axis={axis}{block}>(x, s, z)
    y = DequantizeLinear<axis={axis}{block}>(q, s, z)
    d = Sub(y, goal)
    e = Mul(d, d)
    loss = ReduceSum<keepdims=0>(e)
}}"""
KINDS = {
    "int8": (TensorProto.INT8, -128, 127),
    "uint8": (TensorProto.UINT8, 0, 255),
    "int4": (TensorProto.INT4, -8, 7),
    "uint4": (TensorProto.UINT4, 0, 15),
}


def model(kind, *, scale="float", axis=1, block="", zero=0, count=None):
    """Squared distance of a quantized tensor from a goal; its step is 2 to the rounded k."""
    text = f'<ir_version: 10, opset_import: ["" : 21]> net {GRAPH}'
    proto = onnx.parser.parse_model(text.format(scale=scale, axis=axis, block=block))
    goal = np.random.default_rng(5).normal(size=(2, 3, 5)).astype(np.float32)
    shape = [] if count is None else [count]
    points = helper.make_tensor("z", KINDS[kind][0], shape, [zero] * (count or 1))
    two = numpy_helper.from_array(np.float32(2).reshape(()), "two")
    proto.graph.initializer.extend([points, two, numpy_helper.from_array(goal, "goal")])
    return ir.from_proto(proto), goal


def of_torch(x, k, goal, low, high, zero):
    """Loss and gradients with the rounding's slope taken for 1; k broadcasts to x."""
    x, k = torch.tensor(x, requires_grad=True), torch.tensor(k, requires_grad=True)
    s = 2.0 ** (k + (torch.round(k) - k).detach())
    steps = x / s
    rounded = steps + (torch.round(steps) - steps).detach()
    loss = ((torch.clamp(rounded, low - zero, high - zero) * s - torch.tensor(goal)) ** 2).sum()
    loss.backward()
    return float(loss.detach()), x.grad.numpy(), k.grad.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zero", [0, 3])
def test_one_step_for_all_values(kind, zero):
    """To 1e-4 of the largest gradient, for the tensor and for the exponent; a third is clipped."""
    _, low, high = KINDS[kind]
    graph, goal = model(kind, zero=zero)
    rng = np.random.default_rng(0)
    exponent = np.array(-2.2 if high < 16 else -6.3, np.float32)
    x = (rng.normal(size=(2, 3, 5)) * 2.0 ** np.round(exponent) * high).astype(np.float32)
    values = {value.name: value for node in graph.graph for value in node.outputs}
    gradients = gradient(graph, values["loss"], list(graph.graph.inputs))
    graph.graph.outputs.extend(gradients)
    got = session.load(graph, threads=1)({"x": x, "k": exponent})
    loss, of_x, of_k = of_torch(x, exponent, goal, low, high, zero)
    assert float(got["loss"]) == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(got["x_gradient"], of_x, atol=1e-4 * np.abs(of_x).max())
    np.testing.assert_allclose(got["k_gradient"], of_k, rtol=1e-4)
    assert 0 < np.mean(of_x == 0) < 1


def test_a_step_for_each_channel():
    """Along axis 1, and counted from the end."""
    for axis in (1, -2):
        graph, goal = model("int8", scale="float[3]", axis=axis, count=3)
        x = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
        k = np.array([-6.0, -7.4, -5.2], np.float32)
        values = {value.name: value for node in graph.graph for value in node.outputs}
        graph.graph.outputs.extend(gradient(graph, values["loss"], list(graph.graph.inputs)))
        got = session.load(graph, threads=1)({"x": x, "k": k})
        _, of_x, of_k = of_torch(x, k.reshape(3, 1), goal, -128, 127, 0)
        np.testing.assert_allclose(got["x_gradient"], of_x, atol=1e-4 * np.abs(of_x).max())
        np.testing.assert_allclose(got["k_gradient"], of_k.ravel(), rtol=1e-4)


def test_scales_of_blocks_are_refused():
    """Nobody trains them here; the message names the node."""
    graph, _ = model("int8", scale="float[2,3,1]", axis=2, block=", block_size=5")
    values = {value.name: value for node in graph.graph for value in node.outputs}
    with pytest.raises(UnsupportedOperatorError, match=r"Linear.*blocks"):
        gradient(graph, values["loss"], list(graph.graph.inputs))
