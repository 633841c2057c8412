"""The float model in the form that is quantized, and what in it is."""

import numpy as np
import pytest

from tests.calibration import plan_of
from tests.passes.helpers import build_model
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.quantization.prepare import excluded_nodes, points_of, prepare, single_bits
from zqc.recipe.recipe import Recipe

NET = """(float[1,3,8,8] x) => (float[1,3,8,8] y) {
    t0 = Exp(x) t1 = Conv(t0, w) y = Neg(t1)
}"""


def network():
    """Three nodes, of which the middle one has weights."""
    return build_model(NET, w=np.ones((3, 3, 1, 1), np.float32))


def test_a_pattern_that_matches_nothing_is_an_error():
    """The message says which pattern, and where names are found."""
    model = network()
    with pytest.raises(OptionError, match=r"'/model\.9/\*' matches no node.*zqc inspect"):
        excluded_nodes(model, ["make_*", "/model.9/*"])


def test_patterns_are_united():
    """Names of all patterns, each once."""
    model = network()
    excluded = excluded_nodes(model, ["make_y", "make_?", "make_t0"])
    assert excluded == {"make_y", "make_t0"}
    assert excluded_nodes(model, []) == frozenset()


def test_bits_of_layers_by_pattern():
    """The last pattern that matches counts; with a reduced range no layer has 8 bits."""
    recipe = Recipe(bits_of={"*": 8, "make_t?": 3})
    assert single_bits(network(), recipe) == {"make_t1": 3}
    assert single_bits(network(), Recipe(bits_of={"*": 8}, reduce_range=True)) == {"make_t1": 7}
    assert single_bits(network(), Recipe()) == {}


def test_bits_of_no_layer_are_an_error():
    """The message says the pattern as it was given, and layers with names like it."""
    with pytest.raises(OptionError, match=r"--bits-of 'make_t2=8' matches no layer.*make_t1"):
        single_bits(network(), Recipe(bits_of={"make_t2": 8}))


@pytest.mark.parametrize(("low", "signed"), [(0.0, False), (-1.0, True)])
def test_the_pixels_range_decides_the_sign_of_the_input(low, signed):
    """Pixels that cannot be negative get an unsigned grid."""
    recipe = Recipe(input_format=InputFormat((low,), (1.0,)))
    points = points_of(prepare(network(), plan_of(recipe)), plan_of(recipe))
    assert points[0].names == ("x",)
    assert points[0].nonnegative is not signed


def test_a_model_that_the_oldest_runtime_cannot_read_is_refused():
    """Before anything is calibrated, with the operator and the version that would do."""
    model = build_model("(float[1,3,8,8] x) => (float[1,3,8,8] y) { a = Gelu(x) y = Exp(a) }")
    prepare(model, plan_of(Recipe(min_runtime="1.17")))
    with pytest.raises(OptionError, match=r"Gelu make_a is there since opset 20; .* 1\.17"):
        prepare(model, plan_of(Recipe(min_runtime="1.16")))


def test_mish_is_one_operator():
    """The opset is raised for it: every runtime that can be asked for reads one so new."""
    graph = """(float[1,3,8,8] x) => (float[1,3,8,8] y) {
        c = Conv(x, w) p = Softplus(c) t = Tanh(p) m = Mul(c, t) y = Conv(m, w)
    }"""
    model = build_model(graph, opset=13, w=np.ones((3, 3, 1, 1), np.float32))
    prepared = prepare(model, plan_of(Recipe(min_runtime="1.16", bits=8)))
    assert [node.op_type for node in prepared.graph] == ["Conv", "Mish", "Conv"]
