"""Parts of outputs are found by topology."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from zqc.detection.parts import output_parts

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
EXAMPLE = Path(__file__).parents[3] / "examples" / "detector.onnx"


def parts_of(graph: str):
    """Return the parts of a model written as ONNX text."""
    return output_parts(ir.from_proto(onnx.parser.parse_model(f"{HEAD} g {graph}")))


def summary(graph: str):
    """Return name, output and kind of every part."""
    return [(p.name, p.output, p.kind) for p in parts_of(graph)]


YOLO = """(float[N,4,6] b, float[N,2,6] c) => (float[N,6,6] y) {
    s = Sigmoid(c)  y = Concat<axis=1>(b, s)
}"""


def test_boxes_and_scores_in_one_output_are_told_apart():
    """The part that comes from Sigmoid is scores, its sibling boxes; the batch may be dynamic."""
    boxes, scores = parts_of(YOLO)
    assert (boxes.name, boxes.kind) == ("boxes", "boxes")
    assert (scores.name, scores.kind) == ("scores", "scores")
    output = np.arange(2 * 36).reshape(2, 6, 6)
    assert boxes.values(output).tolist() == output[:, :4].reshape(-1).tolist()
    assert scores.values(output).tolist() == output[:, 4:].reshape(-1).tolist()


def test_layout_operators_after_the_concat_are_followed():
    """Transpose and Reshape move the borders of the parts."""
    boxes, scores = parts_of("""(float[1,4,6] b, float[1,2,6] c) => (float[1,36] y)
      <int64[2] flat = {1, 36}> {
        s = Sigmoid(c)  j = Concat<axis=1>(b, s)
        t = Transpose<perm=[0, 2, 1]>(j)  y = Reshape(t, flat)
    }""")
    cells = np.arange(36).reshape(6, 6)
    assert boxes.values(cells.reshape(1, 36)).tolist() == cells[:, :4].reshape(-1).tolist()
    assert scores.values(cells.reshape(1, 36)).tolist() == cells[:, 4:].reshape(-1).tolist()


def test_nested_concats_are_merged_by_kind():
    """Two levels of (box, score) rows, joined, give one boxes and one scores part."""
    boxes, scores = parts_of("""(float[1,2,4] b1, float[1,2,1] c1, float[1,3,4] b2, float[1,3,1] c2)
      => (float[1,5,5] y) {
        s1 = Sigmoid(c1)  s2 = Sigmoid(c2)
        l1 = Concat<axis=2>(b1, s1)  l2 = Concat<axis=-1>(b2, s2)
        y = Concat<axis=1>(l1, l2)
    }""")
    assert (boxes.mask.sum(), scores.mask.sum()) == (20, 5)
    assert scores.mask[:, 4].all()


def test_quantized_scores_are_still_scores():
    """QuantizeLinear, DequantizeLinear and Split do not hide the Sigmoid."""
    assert summary("""(float[1,4,6] b, float[1,4,6] c) => (float[1,6,6] y)
      <float scale = {0.0078125}, uint8 zero = {0}, int64[2] sizes = {2, 2}> {
        s = Sigmoid(c)  q = QuantizeLinear(s, scale, zero)  d = DequantizeLinear(q, scale, zero)
        one, two = Split<axis=1>(d, sizes)  y = Concat<axis=1>(b, one)
    }""") == [("boxes", "y", "boxes"), ("scores", "y", "scores")]


def test_rows_that_are_cut_apart_are_followed():
    """Slice and Split of boxes and scores in one: the centre and size are decoded, then joined."""
    head = """(float[1,3,4] b, float[1,3,2] c, float[1,3,2] grid) => (float[1,3,6] y)
      <int64[1] zero = {0}, int64[1] two = {2}, int64[1] four = {4}, int64[1] last = {-1},
       int64[1] end = {9223372036854775807}, int64[1] one = {1}, int64[3] sizes = {2, 2, 2}> {
        s = Sigmoid(c)  j = Concat<axis=2>(b, s) """
    cut = """xy = Slice(j, zero, two, last)  wh = Slice(j, two, four, last, one)
        rest = Slice(j, four, end, last, one)"""
    split = "xy, wh, rest = Split<axis=-1>(j, sizes)"
    join = "centre = Add(xy, grid)  size = Exp(wh)  y = Concat<axis=2>(centre, size, rest) }"
    for lines in (cut, split):
        boxes, scores = parts_of(f"{head} {lines} {join}")
        assert scores.mask.tolist() == [[False] * 4 + [True] * 2] * 3
        assert (boxes.mask == ~scores.mask).all()
    reverse = cut.replace(
        "rest = Slice(j, four, end, last, one)", "rest = Slice(j, end, two, last, back)"
    )
    backwards = head.replace("int64[1] one", "int64[1] back = {-1}, int64[1] one")
    assert [part.kind for part in parts_of(f"{backwards} {reverse} {join}")] == ["raw"]


def test_separate_outputs_are_boxes_and_scores():
    """An output N x A x 4 beside one of scores is boxes, anything else stays raw."""
    graph = """(float[1,5,4] b, float[1,5,2] c, float[1,5,10] k)
      => (float[1,5,4] loc, float[1,5,2] conf, float[1,5,10] points) {
        loc = Identity(b)  conf = Softmax<axis=2>(c)  points = Identity(k)
    }"""
    assert summary(graph) == [
        ("boxes", "loc", "boxes"),
        ("scores", "conf", "scores"),
        ("points", "points", "raw"),
    ]
    conf = parts_of(graph)[1]
    assert conf.values(np.ones((3, 5, 2))).shape == (30,)


def test_several_outputs_of_a_kind_keep_their_names():
    """Two outputs of scores cannot both be called scores."""
    assert [
        name
        for name, _, _ in summary("""(float[1,3] a, float[1,3] b)
      => (float[1,3] x, float[1,3] y) { x = Sigmoid(a)  y = Sigmoid(b) }""")
    ] == ["x", "y"]


@pytest.mark.parametrize(
    "graph",
    [
        # no scores at all
        "(float[1,4,6] b, float[1,2,6] c) => (float[1,6,6] y) { y = Concat<axis=1>(b, c) }",
        # arithmetic after the Sigmoid
        "(float[1,4] a) => (float[1,4] y) { s = Sigmoid(a) y = Add(s, s) }",
        # the sizes of the parts are unknown
        """(float[1,P,6] b, float[1,Q,6] c) => (float[1,R,6] y) {
            s = Sigmoid(c)  y = Concat<axis=1>(b, s) }""",
        # the output is an input
        "(float[1,4] y) => (float[1,4] y) { }",
    ],
)
def test_what_cannot_be_told_apart_is_raw(graph):
    """The whole output is one raw part with the output's name."""
    assert summary(graph) == [("y", "y", "raw")]


def test_the_model_is_not_changed():
    """Shape inference happens on a copy."""
    model = ir.from_proto(onnx.parser.parse_model(f"{HEAD} g {YOLO}"))
    before = ir.to_proto(model).SerializeToString()
    output_parts(model)
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the example detector is not here")
def test_the_example_detector_has_boxes_and_scores():
    """4 rows of boxes, 10 rows of scores in its only output."""
    boxes, scores = output_parts(ir.load(EXAMPLE))
    assert boxes.mask[:4].all()
    assert not boxes.mask[4:].any()
    assert np.array_equal(scores.mask, ~boxes.mask)
