"""Half precision becomes float32."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from tests import nets
from tests.zqc.model_io.helpers import load, operators
from zqc.model_io.float32 import cast_up

KEEPS_IO = """net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 8] y) {
    half = Cast <to = 10> (x)
    conv = Conv <pads = [1, 1, 1, 1]> (half, weight)
    many = ConstantOfShape (one)
    double = Mul (conv, many)
    y = Cast <to = 1> (double)
}"""
WEIGHT = nets.weights()["weight"].astype(np.float16)


def keeps_io():
    """Half precision between a float32 input and a float32 output."""
    return with_twos(nets.model(KEEPS_IO, weight=WEIGHT, one=np.array([1])), np.float16)


def with_twos(proto, dtype):
    """Let the ConstantOfShape give twos of a type."""
    (node,) = (node for node in proto.graph.node if node.op_type == "ConstantOfShape")
    twos = onnx.numpy_helper.from_array(np.array([2], dtype))
    node.attribute.append(onnx.helper.make_attribute("value", twos))
    return proto


def float32_twin():
    """The same network, written in float32 by hand."""
    text = KEEPS_IO.replace("half = Cast <to = 10>", "half = Identity")
    text = text.replace("y = Cast <to = 1>", "y = Identity")
    proto = nets.model(text, weight=WEIGHT.astype(np.float32), one=np.array([1]))
    return with_twos(proto, np.float32)


def test_mixed_precision(rng):
    """No half is left, casts between the two are gone, and the values are those of float32."""
    proto = keeps_io()
    model = cast_up(ir.from_proto(proto))
    assert operators(model) == ["Conv", "ConstantOfShape", "Mul"]
    feed = {"x": rng.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    (found,) = ReferenceEvaluator(ir.to_proto(model)).run(None, feed)
    (expected,) = ReferenceEvaluator(float32_twin()).run(None, feed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_nothing_to_do():
    """A float32 model is returned as it is."""
    model = ir.from_proto(nets.detector())
    assert cast_up(model) is model


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT])
def test_the_file_keeps_its_types(kind, tmp_path, rng):
    """What is written takes and gives what the source does, and computes the same."""
    proto = keeps_io()
    if kind == onnx.TensorProto.FLOAT16:
        proto.graph.input[0].type.tensor_type.elem_type = kind
        proto.graph.output[0].type.tensor_type.elem_type = kind
        proto.graph.node[0].op_type = proto.graph.node[-1].op_type = "Identity"
        for node in (proto.graph.node[0], proto.graph.node[-1]):
            del node.attribute[:]
    source = load(proto, tmp_path)
    written = ir.to_proto(source.interface.restored(source.model))
    for side in ("input", "output"):
        (before,), (after,) = getattr(proto.graph, side), getattr(written.graph, side)
        assert (after.name, after.type.tensor_type.elem_type) == (before.name, kind)
    tensors = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    feeds = source.interface.taken.feeds(tensors)
    (expected,) = ReferenceEvaluator(proto).run(None, feeds)
    (found,) = ReferenceEvaluator(written).run(None, feeds)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.05)
