"""Layers kept in float: ONNX Runtime must not quantize them on its own."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from passes import FloatBarriers, QuantizeActivations, UnsignedActivations
from passes.arithmetic import Grid
from zqc.runtime import session

TEXT = """
<ir_version: 8, opset_import: ["" : 13]>
layer (float[1,4,8,8] x) => (float[1,4,8,8] y) { y = Conv <pads=[1,1,1,1]> (x, w) }
"""


def float_layer() -> ir.Model:
    """Return a Conv with float weights between two quantized tensors."""
    model = ir.from_onnx_text(TEXT)
    weight = np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype(np.float32)
    value = model.graph[0].inputs[1]
    value.const_value = ir.tensor(weight, name="w")
    value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(weight.shape)
    model.graph.register_initializer(value)
    model.graph[0].name = "layer"
    QuantizeActivations({"x": Grid(2, 8, True), "y": Grid(5, 8, True)})(model)
    UnsignedActivations()(model)
    return model


def operator_of_layer(model: ir.Model) -> str:
    """Return what ONNX Runtime runs the layer as."""
    return next(n.op_type for n in session.executed_graph(model).graph if n.name == "layer")


def test_a_float_layer_stays_float():
    """Without the barrier ONNX Runtime makes it QLinearConv, with it it runs the float weights."""
    model = float_layer()
    assert operator_of_layer(model) == "QLinearConv"
    x = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    before = session.load(model, optimize=False)({"x": x})["y"]
    assert FloatBarriers()(model).modified
    assert operator_of_layer(model) in ("Conv", "FusedConv")
    np.testing.assert_array_equal(session.load(model, optimize=False)({"x": x})["y"], before)
