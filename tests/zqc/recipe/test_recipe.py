"""What a user may ask for."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from passes.analysis.log_affine import WIDTHS
from zqc.errors import OptionError
from zqc.recipe.recipe import LEVEL_WIDTHS, Recipe


@pytest.mark.parametrize(
    ("bits", "act_bits", "name"),
    [(8, 8, "int8"), (4, 8, "w4a8"), (4, 4, "w4a4"), (8, 4, "w8a4"), (3, 8, "w3a8")],
)
def test_precisions_have_their_usual_names(bits, act_bits, name):
    """8 bits of both are called int8, everything else by weights and activations."""
    assert Recipe(bits=bits, act_bits=act_bits).precision == name
    assert Recipe(bits=bits, act_bits=act_bits, target_size=0.2).precision == "mixed"


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("bits", 1, "bits is 1, but must be one of 2, 3, 4, 5, 6, 7, 8"),
        ("bits", 32, "bits is 32"),
        ("act_bits", 16, "act_bits is 16, but must be one of 3, 4, 5, 6, 7, 8"),
        ("first_last_bits", 0, "first_last_bits is 0"),
        ("target", "tensort", "'tensort', but did you mean tensorrt. must be one of ort-x86"),
        ("effort", "extreme", "effort is 'extreme', but must be one of quick, standard, thorough"),
        ("bn_terms", "neither", "bn_terms is 'neither', but must be one of both, mean, std"),
        ("equalization", "all", "equalization is 'all', .* none, statistics, pictures"),
        ("shift", "left", "shift is 'left', .* none, rule, search"),
        ("threshold", "rms", "threshold is 'rms', .* none, mse, mae, lp, kl, sensitivity"),
        ("rounding", "up", "rounding is 'up', .* nearest, compensated"),
        ("bias_correction", "x", "bias_correction is 'x', .* auto, none, statistics, pict"),
        ("lp", 0, "lp is 0"),
        ("z_score", 0.0, "z_score is 0, but must be above 0"),
        ("z_score", math.nan, "z_score is nan"),
        ("z_score", math.inf, "z_score is inf"),
        ("target_size", 1.0, "target_size is 1, but must be between 0 and 1"),
        ("target_latency", 0.0, "target_latency is 0, but must be between 0 and 1"),
        ("min_runtime", "1.15", "min_runtime is '1.15', .* ONNX Runtime from 1.16 on"),
        ("min_runtime", "1.16.3", "min_runtime is '1.16.3'"),
        ("min_runtime", "newest", "min_runtime is 'newest'"),
        ("samples", 0, "samples is 0"),
        ("samples", "x", "samples is 'x', but must be a whole number"),
        ("pictures_seen", 1.5, "pictures_seen is 1.5, but must be a whole number"),
        ("rate", "x", "rate is 'x', but must be a number"),
        ("rate", 1e39, "rate is 1e.39, but must be above 0 and at most 10"),
        ("lp", True, "lp is True, but must be a whole number"),
        ("ema", "yes", "ema is 'yes', but must be True or False"),
        ("loss_weights", "heads=1", "loss_weights is 'heads=1', but must have a number for each"),
        ("loss_weights", {"heads": "a"}, "gives heads 'a', but must give a number from 0"),
        ("weight_levels", "log-affine", "log-affine, but levels are for weights of 3 and 4 bits"),
        ("samples", -3, "samples is -3"),
        ("samples", 10**15, "may be 1,000,000 at most"),
        ("seed", -1, "seed is -1"),
        ("input_shape", (0, 640), "input_shape is .0, 640."),
        ("input_shape", (640, -1), "input_shape is .640, -1."),
        ("input_shape", "640x640", "input_shape is '640x640', but must be height and width"),
        ("input_shape", (640,), "must be height and width"),
        ("input_shape", (640, 1.5), "must be height and width"),
        ("input_shape", (True, 640), "must be height and width"),
        ("input_shape", 640, "must be height and width"),
        ("input_shape", (640, 10**9), "1,000,000 at most"),
    ],
)
def test_what_cannot_be_is_refused(option, value, words):
    """An impossible value is named together with what is possible."""
    with pytest.raises(OptionError, match=words):
        Recipe(**{option: value})


@pytest.mark.parametrize("given", [[480, 640], np.array([480, 640]), (np.int32(480), 640)])
def test_a_shape_in_any_form(given):
    """Two whole numbers, as files of recipes and arrays have them, are a tuple."""
    assert Recipe(input_shape=given) == Recipe(input_shape=(480, 640))


def test_old_runtimes_are_those_of_one_target():
    """A version of ONNX Runtime makes no sense for another runtime."""
    assert Recipe(min_runtime="1.16", target="ort-arm").min_runtime == "1.16"
    with pytest.raises(OptionError, match="the target is portable; leave one of them out"):
        Recipe(min_runtime="1.16", target="portable")


@pytest.mark.parametrize(("bits", "first_last"), [(8, 8), (4, 8), (7, 4), (2, 4)])
def test_a_reduced_range_has_seven_bits(bits, first_last):
    """Weights have 7 bits at most, activations keep theirs."""
    recipe = Recipe(bits=bits, first_last_bits=first_last, reduce_range=True)
    assert (recipe.weight_bits, recipe.first_last_weight_bits) == (min(bits, 7), min(first_last, 7))
    assert (recipe.bits, recipe.first_last_bits, recipe.act_bits) == (bits, first_last, 8)
    recipe = Recipe(bits=bits, first_last_bits=first_last)
    assert (recipe.weight_bits, recipe.first_last_weight_bits) == (bits, first_last)


def test_where_levels_can_be():
    """Where weights have 3 or 4 bits, or may come to have them."""
    assert LEVEL_WIDTHS == WIDTHS
    for options in ({"bits": 3}, {"bits": 5}, {"target_size": 0.2}, {"bits_of": {"*": 4}}):
        assert Recipe(weight_levels="log-affine", **options).log_affine
    with pytest.raises(OptionError, match="these have 5; ask for 4 bits"):
        Recipe(weight_levels="log-affine", bits=5, uniform_bits=True)


@pytest.mark.parametrize(
    ("options", "learned"),
    [
        ({}, ""),
        ({"act_bits": 4, "effort": "quick"}, ""),
        ({"act_bits": 4}, "biases"),
        ({"act_bits": 4, "rounding": "refitted"}, ""),
        ({"act_bits": 4, "rounding": "refitted", "bias_correction": "learned"}, "biases"),
        ({"act_bits": 4, "bias_correction": "pictures"}, ""),
        ({"bits": 3, "act_bits": 4}, "weights"),
        ({"act_bits": 4, "effort": "thorough"}, "weights"),
        ({"effort": "thorough"}, ""),
        ({"effort": "quick", "bias_correction": "learned"}, "biases"),
        ({"effort": "quick", "rounding": "learned"}, "weights"),
    ],
)
def test_what_is_learned(options, learned):
    """Biases where activations have few bits, weights where they do as well or time is given.

    Nothing where it is said how either is found without learning.
    """
    recipe = Recipe(**options)
    assert recipe.learns == bool(learned)
    assert recipe.learns_weights == (learned == "weights")


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
