"""Where inference ends, it goes on with what was known before."""

import onnx_ir as ir
import pytest

from zqc.statistics.known_shapes import infer, shapes_of

TEXT = """<ir_version: 10, opset_import: ["" : 21, "com.example" : 1]>
net (float[1,3,4,4] x) => (float[a,b,c,d] y) {
    a = Relu(x) b = com.example.First(a) c = Relu(b) d = com.example.Second(c) y = Relu(d)
}"""


@pytest.mark.parametrize("exported", [1, "N"])
def test_unknown_operators_are_passed(exported):
    """The batch is the new one behind each of them, and other sizes are those from before."""
    model = ir.from_onnx_text(TEXT)
    values = {v.name: v for n in model.graph for v in n.outputs}
    batch = exported if exported == 1 else ir.SymbolicDim(exported)
    model.graph.inputs[0].shape = ir.Shape([batch, 3, 4, 4])
    for name, channels in (("a", 3), ("b", 5), ("c", 5), ("d", 7), ("y", 7)):
        values[name].shape = ir.Shape([batch, channels, 4, 4])
        values[name].type = ir.TensorType(ir.DataType.FLOAT)
    known = shapes_of(model.graph)
    for value in values.values():
        value.shape = None
    model.graph.inputs[0].shape = ir.Shape([6, 3, 4, 4])
    infer(model, known, batch)
    assert list(values["b"].shape) == [6, 5, 4, 4]
    assert list(values["y"].shape) == [6, 7, 4, 4]


def test_what_nobody_knew_stays_unknown():
    """Without a shape from before there is none after."""
    model = ir.from_onnx_text(TEXT)
    infer(model, {}, 1)
    assert model.graph.node(1).outputs[0].shape is None
