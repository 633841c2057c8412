"""What a user may ask for."""

from dataclasses import FrozenInstanceError

import pytest

from zqc.errors import OptionError
from zqc.recipe import Recipe


@pytest.mark.parametrize(
    ("bits", "act_bits", "name"),
    [(8, 8, "int8"), (4, 8, "w4a8"), (4, 4, "w4a4"), (8, 4, "w8a4")],
)
def test_precisions_have_their_usual_names(bits, act_bits, name):
    """8 bits of both are called int8, everything else by weights and activations."""
    assert Recipe(bits=bits, act_bits=act_bits).precision == name


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("bits", 5, "bits is 5"),
        ("bits", 32, "bits is 32"),
        ("act_bits", 16, "act_bits is 16"),
        ("first_last_bits", 0, "first_last_bits is 0"),
        ("target", "tensorrt", "unknown target 'tensorrt'; known: ort-x86, portable"),
        ("effort", "extreme", "unknown effort 'extreme'; known: quick, standard, thorough"),
        ("bn_terms", "neither", "unknown terms 'neither'; known: both, mean, std"),
        ("samples", 0, "samples is 0"),
        ("samples", -3, "samples is -3"),
        ("input_shape", (0, 640), "must be positive"),
        ("input_shape", (640, -1), "must be positive"),
    ],
)
def test_what_cannot_be_is_refused(option, value, words):
    """An impossible value is named together with what is possible."""
    with pytest.raises(OptionError, match=words):
        Recipe(**{option: value})


def test_a_misspelt_option_raises():
    """No option is swallowed."""
    with pytest.raises(TypeError, match="activation_bits"):
        Recipe(activation_bits=4)


def test_a_recipe_does_not_change():
    """A recipe is a value."""
    recipe = Recipe()
    with pytest.raises(FrozenInstanceError):
        recipe.bits = 4
    assert recipe == Recipe()
    assert recipe.samples is None
