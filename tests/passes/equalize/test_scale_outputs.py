"""Channels of a head's output are brought to one range without changing what comes out."""

import numpy as np
import pytest

from passes import ScaleOutputs
from passes.equalize.scale_outputs import head_outputs
from passes.graph import constant
from tests.passes.helpers import build_model, run_model

HEADS = {
    "output of the graph": "(float[1,3,5,4] x) => (float[n,c,h,w] y) { y = Conv(x, w, b) }",
    "post-processing": """(float[1,3,5,4] x) => (float[n,c,h,w] z, float[n,c,h,w] u) {
        y = Conv(x, w, b)
        z = Sigmoid(y)
        u = Exp(y)
    }""",
    "Gemm": "(float[2,3] x) => (float[n,c] y) { y = Gemm<transB=1>(x, m, b) }",
}


def model_of(rng, head):
    """A head of four channels, and its input."""
    arrays = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        "m": rng.normal(size=(4, 3)),
        "b": rng.normal(size=4),
    }
    used = {
        n: a.astype(np.float32) for n, a in arrays.items() if f"{n}," in HEADS[head] or n == "b"
    }
    model = build_model(HEADS[head], **used)
    shape = (2, 3) if head == "Gemm" else (1, 3, 5, 4)
    return model, rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_are_the_same_to_the_last_bit(rng, head):
    """Powers of two move exponents only; names and shapes of the outputs stay."""
    model, x = model_of(rng, head)
    before = run_model(model, x=x)
    result = ScaleOutputs({"y": np.array([60.0, 8.0, 0.0, 0.01])}).call(model)
    assert result.modified
    after = run_model(model, x=x)
    assert list(before) == list(after)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_each_channel_fills_the_range_of_the_widest(rng):
    """Factors are the powers of two up to which a channel stays within it, at most 2^7."""
    model, _ = model_of(rng, "output of the graph")
    weight = constant(model.graph[0].inputs[1])
    ScaleOutputs({"y": np.array([60.0, 8.0, 0.0, 0.01])}).call(model)
    layer = model.graph[0]
    factors = constant(layer.inputs[1]) / weight
    np.testing.assert_array_equal(factors[:, 0, 0, 0], [1, 4, 1, 128])
    assert [node.op_type for node in model.graph] == ["Conv", "Mul"]
    assert model.graph.outputs[0].name == "y"


@pytest.mark.parametrize(
    "text",
    [
        "(float[1,3,5,4] x) => (float[n,c,h,w] z) { y = Conv(x, w, b) z = Conv(y, v) }",
        "(float[1,3,5,4] x) => (float[n,c,h,w] y, float[n,c,h,w] z)"
        " { y = Conv(x, w, b) z = Conv(y, v) }",
    ],
)
def test_what_a_layer_reads_is_no_head(rng, text):
    """Only what the post-processing alone reads is one: another layer would see the factors."""
    arrays = {"w": (4, 3, 3, 3), "b": (4,), "v": (2, 4, 1, 1)}
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in arrays.items()}
    model = build_model(text, **arrays)
    assert [value.name for value in head_outputs(model.graph)] == ["z"]


def test_equal_or_unknown_reaches_change_nothing(rng):
    """Channels within one octave share a step already."""
    model, _ = model_of(rng, "output of the graph")
    assert not ScaleOutputs({"y": np.array([1.9, 1.0, 1.0, 1.5])}).call(model).modified
    assert not ScaleOutputs({}).call(model).modified
    assert len(model.graph) == 1


def test_heads_that_share_their_weight_share_the_factors(rng):
    """The smallest of both levels; without the range of one of them nothing is scaled."""
    text = """(float[1,3,5,4] x, float[1,3,2,2] p) => (float[n,c,h,w] y, float[n,c,h2,w2] z) {
        y = Conv(x, w, b) z = Conv(p, w, b) }"""
    arrays = {"w": (3, 3, 1, 1), "b": (3,)}
    arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in arrays.items()}
    model = build_model(text, **arrays)
    channel_ranges = {"y": np.array([8.0, 1.0, 2.0]), "z": np.array([8.0, 4.0, 1.0])}
    assert not ScaleOutputs({"y": channel_ranges["y"]}).call(model).modified
    feeds = {n: rng.normal(size=(1, 3, *s)).astype("f") for n, s in (("x", (5, 4)), ("p", (2, 2)))}
    before = run_model(model, **feeds)
    assert ScaleOutputs(channel_ranges).call(model).modified
    layers = [node for node in model.graph if node.op_type == "Conv"]
    assert layers[0].inputs[1] is layers[1].inputs[1]
    factors = constant(layers[0].inputs[1]) / arrays["w"]
    np.testing.assert_array_equal(factors[:, 0, 0, 0], [1, 2, 4])
    for name, array in run_model(model, **feeds).items():
        np.testing.assert_array_equal(array, before[name])
