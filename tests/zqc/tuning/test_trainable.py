"""A quantized model whose weights and biases can be trained."""

import numpy as np

from passes import QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid
from tests.passes.helpers import build_model, run_model
from tests.zqc.tuning.nets import BITS, networks
from zqc.tuning.trainable import trainable, with_integers

DEVIATIONS = dict.fromkeys(BITS, 0.5)


def opened():
    """A quantized model, what it has become, a batch, and what the inputs begin with."""
    _, quantized, pictures = networks()
    found = trainable(quantized, BITS, DEVIATIONS)
    return quantized, found, pictures[:2], {p.value.name: p.start for p in found.parameters}


def test_it_computes_what_the_quantized_model_computes():
    """In float, with 3, 4, 6 and 8 bits, zero points and a constant operand: equal up to 1e-5."""
    quantized, found, x, start = opened()
    expected, got = run_model(quantized, x=x)["y"], run_model(found.model, x=x, **start)["y"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_weights_and_biases_of_all_layers_are_inputs():
    """Each layer has one of both, and a weight keeps its bits."""
    _, found, _, _ = opened()
    weights = {p.layers[0]: p.bounds for p in found.parameters if not p.is_bias}
    assert weights == {"make_a": (-128, 127), "make_c": (-4, 3), "make_y": (-8, 7)}
    assert {p.layers[0] for p in found.parameters if p.is_bias} == set(BITS)


def test_quantized_tensors_are_found_by_the_names_of_the_float_model():
    """So that they can be compared with it."""
    _, found, _, _ = opened()
    assert set(found.tensors) == {"x", "b", "d", "e"}


def test_what_is_trained_comes_back_as_integers():
    """A quantized model with other integers computes what the trained inputs computed.

    The tolerance is that of the biases, which are rounded then: half of a step of their products.
    """
    quantized, found, x, start = opened()
    rng = np.random.default_rng(1)
    moved = {name: v + rng.uniform(-1, 1, v.shape).astype(np.float32) for name, v in start.items()}
    back = with_integers(quantized, found.parameters, moved)
    expected, got = run_model(found.model, x=x, **moved)["y"], run_model(back, x=x)["y"]
    unmoved = run_model(quantized, x=x)["y"]
    off, changed = np.abs(got - expected).mean(), np.abs(unmoved - expected).mean()
    assert off < 0.03 * changed


def test_nothing_changed_is_nothing_changed():
    """The first inputs are the integers that are there."""
    quantized, found, x, start = opened()
    back = with_integers(quantized, found.parameters, start)
    assert np.array_equal(run_model(back, x=x)["y"], run_model(quantized, x=x)["y"])


def test_a_weight_that_layers_share_is_one_parameter():
    """As in the heads of a pyramid, whose layers have a DequantizeLinear each."""
    weight = np.random.default_rng(4).normal(size=(4, 4, 1, 1)).astype(np.float32)
    model = build_model(
        "(float[1,4,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w) b = Relu(a) y = Conv(b, w) }",
        w=weight,
    )
    QuantizeActivations({"x": Grid(2, 8, True), "b": Grid(2, 8, False)})(model)
    QuantizeWeights(bits=4, first_last_bits=4)(model)
    found = trainable(model, {"make_a": 4, "make_y": 4}, {})
    (parameter,) = found.parameters
    assert parameter.layers == ("make_a", "make_y")
    x = np.random.default_rng(5).normal(size=(1, 4, 4, 4)).astype(np.float32)
    moved = {parameter.value.name: parameter.start + 1}
    expected = run_model(found.model, x=x, **moved)["y"]
    got = run_model(with_integers(model, found.parameters, moved), x=x)["y"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
