"""Boxes behind a Sigmoid are told from scores where queries make them."""

import onnx
import onnx_ir as ir
import pytest

from zqc.detection.parts import output_parts
from zqc.detection.query_boxes import are_query_boxes

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
DETR = """(float[1,9,8] x, float[8,6] v, float[8,4] w) => (float[1,9,6] c, float[1,9,4] b) {
    c = MatMul(x, v)  d = MatMul(x, w)  b = Sigmoid(d)
}"""
REFINED = """(float[N,9,8] x, float[8,6] v, float[8,4] w, float[N,9,4] r, int64 last)
=> (float[N,9,6] c, float[N,9,4] b) {
    l = MatMul(x, v)  c = Sigmoid(l)
    d = MatMul(x, w)  e = Add(d, r)  s = Sigmoid(e)  t = Sigmoid(d)
    s1 = Unsqueeze(s, last)  t1 = Unsqueeze(t, last)
    j = Concat<axis=1>(s1, t1)  b = Gather<axis=1>(j, last)
}"""


def model_of(graph):
    """Read a graph."""
    return ir.from_proto(onnx.parser.parse_model(f"{HEAD} g {graph}"))


def boxes_of(graph):
    """Names of the outputs that are boxes of queries."""
    outputs = model_of(graph).graph.outputs
    return [value.name for value in outputs if are_query_boxes(value, outputs)]


@pytest.mark.parametrize(("graph", "classes"), [(DETR, "raw"), (REFINED, "scores")])
def test_boxes_in_0_to_1_are_boxes(graph, classes):
    """Straight from a product, and refined, joined and picked; classes may be logits."""
    assert boxes_of(graph) == ["b"]
    assert [(part.output, part.kind) for part in output_parts(model_of(graph))] == [
        ("c", classes),
        ("b", "boxes"),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b = Sigmoid(d)", "b = Softmax(d)"),
        ("b = Sigmoid(d)", "b = Relu(d)"),
        ("float[1,9,6] c", "float[1,7,6] c"),
        ("float[1,9,6] c", "float[1,9,4] c"),
        ("d = MatMul(x, w)", "k = Conv(x, w)  d = Transpose(k)"),
    ],
)
def test_others_are_not(old, new):
    """Scores of four classes, boxes of other queries, and heads of convolutions."""
    assert old in DETR
    assert not boxes_of(DETR.replace(old, new))
