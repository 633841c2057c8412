"""The part of a model that is differentiated, and its raw outputs."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.helpers import build_model
from tests.zqc.synthesis import pytorch_twin as twin
from zqc.synthesis.heads import Head, heads


@pytest.fixture
def model(rng):
    """The net with two heads."""
    return build_model(twin.NET, opset=17, **twin.net_parameters(rng))


def test_heads_are_the_raw_outputs_with_the_layer_before_each(model):
    """Before any decoding, each with the nearest of several layers that come before it."""
    found = heads(model, twin.LAYERS)
    assert found == tuple(Head(raw, twin.LAYERS.index(last)) for raw, last in twin.RAW.items())


def test_a_head_knows_its_layer_in_the_order_of_the_statistics(model):
    """The index is that in the list that was given, and only layers in it count."""
    assert heads(model, ["on_input", "after_transpose"]) == (
        Head("raw_boxes", 1),
        Head("raw_scores", 1),
    )
    assert heads(model, ["after_add", "on_input"]) == (Head("raw_boxes", 0), Head("raw_scores", 1))


def test_a_head_without_a_matched_layer_before_it_has_none(model):
    """Nothing to hold it back with."""
    assert heads(model, ["after_add"]) == (Head("raw_boxes", 0), Head("raw_scores", None))
    assert [head.last for head in heads(model, [])] == [None, None]


@pytest.mark.parametrize("added", ["deep, skip", "skip, deep"])
def test_the_nearest_layer_counts(rng, added):
    """Of two ways to a head the shorter one decides, whichever comes first."""
    text = """(float[N,3,4,4] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        n1 = BatchNormalization(c1, g1, b1, m1, v1)
        r1 = Relu(n1)
        skip = LeakyRelu(r1)
        c2 = Conv(r1, w2)
        n2 = BatchNormalization(c2, g1, b1, m1, v1)
        deep = Relu(n2)
        sum = Add(ADDED)
        y = Conv(sum, w2)
    }""".replace("ADDED", added)
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(4, 4, 1, 1))}
    arrays = {n: a.astype("f") for n, a in (arrays | twin.norm_parameters(rng, 1, 4)).items()}
    model = build_model(text, opset=17, **arrays)
    assert heads(model, ["n1", "n2"]) == (Head("y", 1),)


def test_an_output_that_statistics_constrain_is_no_head(model):
    """A last layer whose output is matched itself is left to its statistics."""
    assert heads(model, [*twin.LAYERS, "raw_boxes"]) == (Head("raw_scores", 2),)


BEHIND = """(float[N,3,6,6] x) => (float[a,b,c,d] y, float[e,f,g,h] z) {
    c1 = Conv(x, w1)
    n1 = BatchNormalization(c1, g1, b1, m1, v1)
    c2 = Conv(n1, w2)
    y = BatchNormalization(c2, g2, b2, m2, v2)
    z = Conv(n1, w2)
}"""


def test_a_last_layer_with_batchnorm_behind_it_is_no_head(rng):
    """Its output is constrained by the statistics of the BatchNorm that it is folded with."""
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(4, 4, 1, 1))}
    arrays |= twin.norm_parameters(rng, 1, 4) | twin.norm_parameters(rng, 2, 4)
    model = build_model(BEHIND, opset=17, **{n: a.astype("f") for n, a in arrays.items()})
    assert heads(model, ["n1", "y"]) == (Head("z", 0),)


EXPECTATION = """(float[N,3,4,4] x) => (float[a,b,c,d] y, float[e,f,g,h] z) {
    c1 = Conv(x, w1)
    n1 = BatchNormalization(c1, g1, b1, m1, v1)
    raw = Conv(n1, w2)
    bins = Reshape(raw, sides_and_bins)
    turned = Transpose<perm=[0,2,1,3]>(bins)
    shares = Softmax<axis=1>(turned)
    y = Conv(shares, numbers)
    z = Conv(n1, w3)
}"""


def test_an_expectation_over_bins_is_decoding(rng):
    """What YOLOv8 writes as a Conv behind a Softmax has no range to be stretched."""
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(32, 4, 1, 1))}
    arrays |= {"w3": rng.normal(size=(2, 4, 1, 1)), "numbers": np.arange(8).reshape(1, 8, 1, 1)}
    arrays |= twin.norm_parameters(rng, 1, 4)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    model = build_model(EXPECTATION, opset=17, sides_and_bins=np.array([0, 4, 8, -1]), **arrays)
    assert heads(model, ["n1"]) == (Head("raw", 0), Head("z", 0))


def test_the_model_is_left_as_it_was(model):
    """Serialised, it is the same before and after."""
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    heads(model, twin.LAYERS)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
