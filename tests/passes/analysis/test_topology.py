"""Layers and post-processing are found by topology."""

import numpy as np
import pytest

from passes.analysis.topology import (
    after_last_layers,
    first_last_layers,
    first_layers,
    is_expectation,
    last_layers,
    post_processing,
    weighted_layers,
)


def called(nodes):
    """The first outputs of nodes, sorted: what the tests call them by."""
    return sorted(node.outputs[0].name for node in nodes)


def filters(*shape):
    """Weights of no importance."""
    return np.ones(shape, np.float32)


DETECTOR = """(float[1,3,8,8] x) => (int64[k,3] chosen, float[1,4,64] boxes) {
    stem = Conv(x, w)
    act = Relu(stem)
    body = Conv(act, v)
    join = Add(body, act)
    box = Conv(join, box_w)
    cls = Conv(join, cls_w)
    box_flat = Reshape(box, flat)
    boxes = Mul(box_flat, stride)
    cls_flat = Reshape(cls, flat)
    scores = Sigmoid(cls_flat)
    corners = Transpose<perm=[0,2,1]>(boxes)
    chosen = NonMaxSuppression(corners, scores)
}"""
DETECTOR_WEIGHTS = {
    "w": filters(4, 3, 1, 1),
    "v": filters(4, 4, 1, 1),
    "box_w": filters(4, 4, 1, 1),
    "cls_w": filters(2, 4, 1, 1),
    "flat": np.array([0, 0, -1]),
    "stride": np.float32(8),
}


@pytest.fixture
def detector(build):
    """A detector of four Convs with decoding and NMS."""
    return build(DETECTOR, **DETECTOR_WEIGHTS).graph


def test_decoding_and_nms_are_post_processing(detector):
    """Everything behind the last Convs, and nothing before them, is post-processing."""
    assert called(post_processing(detector)) == [
        "box_flat",
        "boxes",
        "chosen",
        "cls_flat",
        "corners",
        "scores",
    ]


def test_first_and_last_layers(detector):
    """The stem comes first and both heads come last."""
    assert called(weighted_layers(detector)) == ["body", "box", "cls", "stem"]
    assert called(first_layers(detector)) == ["stem"]
    assert called(last_layers(detector)) == ["box", "cls"]
    assert called(after_last_layers(detector)) == sorted(
        ["box", "cls", *called(post_processing(detector))]
    )


def test_first_last_layers(detector, build):
    """The first and the last; everything between is none, and so is an expectation behind them."""
    assert called(first_last_layers(detector)) == ["box", "cls", "stem"]
    graph = build(DFL.format(quantized="", source="share"), **DFL_WEIGHTS).graph
    assert called(first_last_layers(graph)) == ["box"]


def test_who_reads_the_weight_of_a_first_layer_counts_with_it(build):
    """The weight is stored once, so that it has one number of bits."""
    graph = build(
        """(float[1,3,8,8] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            b = Conv(a, w)
            c = Conv(b, v)
            y = Conv(c, u)
        }""",
        **{name: filters(3, 3, 1, 1) for name in "wvu"},
    ).graph
    assert called(first_last_layers(graph)) == ["a", "b", "y"]


def test_two_first_layers(build):
    """Two Convs that read the input are both first, also behind other operators."""
    graph = build(
        """(float[1,3,8,8] x) => (float[n,c,h,w] y) {
            a = Conv(x, w)
            n = Neg(x)
            b = Conv(n, w)
            s = Add(a, b)
            y = Conv(s, w)
        }""",
        w=filters(3, 3, 1, 1),
    ).graph
    assert called(first_layers(graph)) == ["a", "b"]
    assert called(last_layers(graph)) == ["y"]


def test_a_single_layer_is_first_and_last(build):
    """One Gemm is both."""
    graph = build("(float[1,3] x) => (float[n,c] y) { y = Gemm(x, w) }", w=filters(3, 3)).graph
    assert called(first_layers(graph)) == called(last_layers(graph)) == ["y"]
    assert post_processing(graph) == set()


IF = """(float[1,3,8,8] x, bool c) => (float[n,c,h,w] y) {{
    a = Conv(x, w)
    r = Relu(a)
    s = Sigmoid(r)
    i = If(c) <
        then_branch = then () => (float[n,c,h,w] t) {{ t = Neg(s) }},
        else_branch = other () => (float[n,c,h,w] e) {{ e = {inner} }}
    >
    y = {after}
}}"""


def test_an_if_that_reads_a_layer_is_post_processing(build):
    """A tail with subgraphs that read a Conv's output from outside is a tail all the same."""
    graph = build(IF.format(inner="Abs(a)", after="Neg(i)"), w=filters(3, 3, 1, 1)).graph
    assert called(post_processing(graph)) == ["i", "r", "s", "y"]


def test_what_a_branch_reads_is_before_the_layer_behind_the_if(build):
    """A value that only a branch of an If reads is on the way to the Conv behind that If."""
    graph = build(IF.format(inner="Abs(a)", after="Conv(i, w)"), w=filters(3, 3, 1, 1)).graph
    assert post_processing(graph) == set()
    assert called(first_layers(graph)) == ["a"]
    assert called(last_layers(graph)) == ["y"]


def test_a_conv_inside_an_if_stays_float(build):
    """Layers of a subgraph are no layers of the graph, so that an If of them is post-processing."""
    graph = build(IF.format(inner="Conv(r, w)", after="Neg(i)"), w=filters(3, 3, 1, 1)).graph
    assert called(weighted_layers(graph)) == ["a"]
    assert called(post_processing(graph)) == ["i", "r", "s", "y"]


DFL = """(float[1,8,4,4] x) => (float[1,4,16] y) {{
    box = Conv(x, w)
    bins = Reshape(box, shape)
    turned = Transpose<perm=[0,2,1,3]>(bins)
    share = Softmax<axis=1>(turned)
    {quantized}
    sums = Conv({source}, expectation)
    y = Reshape(sums, flat)
}}"""
DFL_WEIGHTS = {
    "w": filters(32, 8, 1, 1),
    "shape": np.array([1, 4, 8, 16]),
    "expectation": np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1),
    "flat": np.array([1, 4, 16]),
}


@pytest.mark.parametrize("pair", [False, True])
def test_the_expectation_of_dfl_is_post_processing(build, pair):
    """The Conv over softmaxed bins decodes boxes: the layer before it is the last one."""
    quantized = "q = QuantizeLinear(share, s, z) d = DequantizeLinear(q, s, z)" if pair else ""
    extra = {"s": np.float32(2**-8), "z": np.uint8(0)} if pair else {}
    text = DFL.format(quantized=quantized, source="d" if pair else "share")
    graph = build(text, **DFL_WEIGHTS, **extra).graph
    nodes = {node.outputs[0].name: node for node in graph}
    assert is_expectation(nodes["sums"])
    assert not is_expectation(nodes["box"])
    assert called(weighted_layers(graph)) == called(last_layers(graph)) == ["box"]
    assert {"bins", "turned", "share", "sums", "y"} <= set(called(post_processing(graph)))


def test_an_expectation_before_a_layer_is_a_layer(build):
    """Attention pooling in the middle of a network looks the same, but goes on."""
    graph = build(
        """(float[1,8,4] x) => (float[n,m,k] y) {
            share = Softmax<axis=-1>(x)
            sums = MatMul(share, w)
            y = MatMul(sums, v)
        }""",
        w=filters(4, 1),
        v=filters(1, 3),
    ).graph
    assert called(weighted_layers(graph)) == ["sums", "y"]


def test_an_expectation_as_matmul(build):
    """The same sum written as MatMul with a column counts too; with two columns it does not."""
    for columns in (1, 2):
        graph = build(
            "(float[1,4,8] x) => (float[n,m,k] y) { s = Softmax<axis=-1>(x) y = MatMul(s, w) }",
            w=filters(8, columns),
        ).graph
        assert is_expectation(graph[-1]) is (columns == 1)


def test_attention_is_a_layer(build):
    """Products of two tensors are layers; what is between them is no post-processing."""
    graph = build(
        """(float[1,4,8] x) => (float[n,m,k] y) {
            q = MatMul(x, wq)
            k = MatMul(x, wk)
            t = Transpose<perm=[0,2,1]>(k)
            logits = MatMul(q, t)
            share = Softmax<axis=-1>(logits)
            mixed = MatMul(share, x)
            y = Tanh(mixed)
        }""",
        wq=filters(8, 8),
        wk=filters(8, 8),
    ).graph
    assert called(weighted_layers(graph)) == ["k", "logits", "mixed", "q"]
    assert called(first_layers(graph)) == ["k", "q"]
    assert called(last_layers(graph)) == ["mixed"]
    assert called(post_processing(graph)) == ["y"]
