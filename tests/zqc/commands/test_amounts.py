"""How many pictures there are, by effort and size."""

import pytest

from zqc.commands.amounts import noise_count, schedule
from zqc.recipe.recipe import EFFORTS, Recipe

SMALL, LARGE = (3, 192, 192), (3, 640, 640)


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_number_of_pictures_may_be_chosen(effort):
    """The effort decides how many there are where the recipe does not, and the steps."""
    usual, chosen = (schedule(Recipe(effort=effort, samples=n, seed=3), SMALL) for n in (None, 5))
    assert (chosen.samples, chosen.steps, chosen.seed) == (5, usual.steps, 3)
    assert usual.samples >= 16
    assert noise_count(Recipe(effort=effort, samples=5), SMALL) == 5


@pytest.mark.parametrize("effort", EFFORTS)
def test_large_pictures_are_fewer(effort):
    """A step over the whole set of 640 pixels costs at most six times one of 192 pixels.

    Noise stays within 1.1 times the pixels of its budget.
    """
    recipe = Recipe(effort=effort)
    small, large = (schedule(recipe, size).samples * size[1] * size[2] for size in (SMALL, LARGE))
    assert large <= 6 * small
    assert 4 <= schedule(recipe, LARGE).samples < schedule(recipe, SMALL).samples
    assert 16 <= noise_count(recipe, LARGE) < noise_count(recipe, SMALL) == 64
    assert noise_count(recipe, LARGE) * LARGE[1] * LARGE[2] <= 1.1 * 11e6


def test_more_effort_never_makes_fewer():
    """Of pictures and of steps."""
    made = [schedule(Recipe(effort=effort), LARGE) for effort in EFFORTS]
    assert [s.samples for s in made] == sorted(s.samples for s in made)
    assert [s.steps for s in made] == sorted(s.steps for s in made)
