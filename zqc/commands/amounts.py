"""How many calibration pictures are made, and in how many steps: by effort, for a size.

What a step costs goes with the pixels, and so does what a picture tells of a network, so that
large pictures are fewer. The numbers follow from ``tools/study/calibration_sources.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from zqc.recipe.recipe import Effort, Recipe
from zqc.synthesis.loop import Schedule

_SYNTHESISED: Mapping[Effort, tuple[int, int, float]] = {
    "quick": (16, 40, 24e6),
    "standard": (32, 60, 80e6),
    "thorough": (128, 60, 400e6),
}
"""By effort: the most pictures, their steps, and the pixels of all steps together."""

_TASK_STEPS: Mapping[Effort, tuple[int, int]] = {
    "quick": (30, 100),
    "standard": (40, 200),
    "thorough": (40, 200),
}
"""Steps in which the labels of task-specific pictures are sampled, and steps with these labels."""

_LEAST: Mapping[Effort, int] = {"quick": 4, "standard": 8, "thorough": 8}
"""Synthesised pictures, however large."""

_NOISE = (16, 64)
"""The least and the most pictures of structured noise: below the least, the second moments of the
last layers rest on too few positions."""

_NOISE_PIXELS = 11e6
"""Of all of them together: 64 pictures of 416×416."""


def schedule(recipe: Recipe, picture: tuple[int, int, int]) -> Schedule:
    """Number of synthesised pictures and their steps, where the recipe leaves it open.

    Args:
        recipe: Effort, seed, and perhaps the number.
        picture: Shape of one, (channels, height, width).
    """
    most, steps, pixels = _SYNTHESISED[recipe.effort]
    samples = _number(recipe, picture, pixels / steps, _LEAST[recipe.effort], most)
    if recipe.task_specific:
        sampling, steps = _TASK_STEPS[recipe.effort]
        return Schedule(samples, steps, seed=recipe.seed, sampling=sampling)
    return Schedule(samples, steps, seed=recipe.seed)


def noise_count(recipe: Recipe, picture: tuple[int, int, int]) -> int:
    """Number of pictures of structured noise, where the recipe leaves it open."""
    return _number(recipe, picture, _NOISE_PIXELS, *_NOISE)


def _number(
    recipe: Recipe, picture: tuple[int, int, int], pixels: float, least: int, most: int
) -> int:
    """As the recipe says, or as many pictures as have so many pixels together, within bounds."""
    affordable = int(pixels / (picture[1] * picture[2]))
    return recipe.samples or min(max(affordable, least), most)
