"""Models that are quantized in part."""

import numpy as np
import pytest

from tests.diagnosed import LAYERS, canonical, subject, tensors
from tests.passes.helpers import operator_types, relative_error, run_model
from zqc.diagnosis.variants import Variant, rounded_parameters


def test_nothing_quantized_is_the_float_model():
    """To the last bit."""
    found, _ = subject(bits=4)
    quantizable = found.quantizable
    model = quantizable.variant(Variant("nothing"))
    expected, got = (run_model(each, images=tensors()) for each in (quantizable.model, model))
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("bits", [4, 8])
def test_everything_quantized_is_the_quantized_model(bits):
    """Weights as floats of the same values give the same outputs, up to the rounding of floats."""
    found, _ = subject(bits=bits)
    got = run_model(found.quantizable.variant(found.everything()), images=tensors())
    assert relative_error(run_model(canonical(bits=bits), images=tensors()), got) < 1e-5


def test_one_layer_alone_has_its_own_pairs_and_no_others():
    """Its input and its output, two pairs for a layer with a ReLU."""
    found, _ = subject(bits=8)
    variant = found.alone()[LAYERS.index("deep")]
    assert variant.layers == {"deep": "asked"}
    types = operator_types(found.quantizable.variant(variant))
    assert types.count("QuantizeLinear") == types.count("DequantizeLinear") == 2


def test_parameters_are_those_of_the_canonical_model():
    """On a grid of 4 bits, with at most 16 different values a channel."""
    parameters = rounded_parameters(canonical(bits=4))
    assert set(parameters) == set(LAYERS)
    rows = parameters["deep"].weight.reshape(16, -1)
    assert max(len(np.unique(row)) for row in rows) <= 16
    assert parameters["deep"].bias.shape == (16,)


def test_keys_differ_where_variants_do():
    """By layers and by tensors, whatever the name."""
    variants = [
        Variant("a", {"x": "asked"}),
        Variant("a", {"x": "spared"}),
        Variant("a", {"x": "asked"}, frozenset({"t"})),
        Variant("b", {"x": "asked"}),
    ]
    assert len({variant.key for variant in variants}) == 4
