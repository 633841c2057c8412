"""A command line that was written from a recipe is parsed to that recipe again."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from zqc.cli import main
from zqc.cli.recipe_options import recipe_of
from zqc.commands.inputs import CalibrationSource
from zqc.commands.spelled import command_line, exactly, layer_options
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe

OTHER = {
    *("model", "output", "images", "statistics", "no_statistics", "dry_run", "threads"),
    *("labels", "report", "as_json", "verbose", "help"),
}
"""Options that are none of a recipe."""


def recipe_in(recipe, more=()):
    """The recipe that the line of a recipe asks for."""
    line = command_line("compile", Path("my model.onnx"), recipe, CalibrationSource(), more)
    words = shlex.split(line)
    context = main.cli.commands[words[1]].make_context(words[1], words[2:])
    with context:
        return recipe_of(**{k: v for k, v in context.params.items() if k not in OTHER})


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 4, "act_bits": 4, "first_last_bits": 4},
        {"equalization": "statistics", "insert_factors": "never", "shift": "rule"},
        {"threshold": "lp", "lp": 3, "z_score": 7.5},
        {"rounding": "refitted", "bias_correction": "outputs", "second_moments": True},
        {"channel_outputs": False, "reduce_range": True, "require_integer": True},
        {"target_size": 0.25},
        {"target_latency": 0.5},
        {"samples": 9, "seed": 3, "effort": "thorough", "bn_terms": "std", "tie_channels": True},
        {"input_format": InputFormat.from_range(-1, 1)},
        {"input_format": InputFormat.from_range(-1, 1, True)},
        {"input_format": "BGR"},
        {"input_shape": (320, 640), "fit": "stretch"},
        {"inputs": {"factor": (1.0, 2.5), "an image's size": (640.0,)}},
        {"target": "portable"},
        {"min_runtime": "1.16"},
        {"rounding": "learned", "loss_weights": {"detection": 0.1}, "effort": "quick"},
        {"rounding": "learned", "effort": "thorough", "pictures_seen": 7, "rate": 0.5, "ema": True},
        {"keep_float": ("head*", "a b/[c]"), "bits_of": {"stem's *": 4, "neck": 2}},
    ],
)
def test_every_field_comes_back(fields):
    """What the line is parsed to is the recipe that it was written from."""
    recipe = Recipe(**fields)
    assert recipe_in(recipe) == recipe


def test_means_and_deviations_come_back():
    """To the six digits that are written."""
    form = InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    found = recipe_in(Recipe(input_format=form)).input_format
    np.testing.assert_allclose(found.low, form.low, rtol=2e-5)
    np.testing.assert_allclose(found.high, form.high, rtol=2e-5)
    assert found.bgr is False


def test_layers_come_back_by_their_exact_names():
    """Characters that are patterns match themselves alone, and a shell leaves them as they are."""
    names = ["/model.0/conv[1]/Conv", "a*b?", "it's"]
    found = recipe_in(Recipe(), layer_options(names[:2], {names[2]: 8}))
    assert found.keep_float == tuple(exactly(name) for name in names[:2])
    assert dict(found.bits_of) == {exactly("it's"): 8}
