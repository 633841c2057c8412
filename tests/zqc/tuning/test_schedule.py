"""How long and how fast is trained."""

import pytest

from zqc.recipe.recipe import TUNED, Recipe
from zqc.tuning.schedule import Schedule
from zqc.tuning.step import SCALARS


@pytest.mark.parametrize(
    ("rounding", "effort", "pixels", "pictures"),
    [
        ("learned", "standard", 192 * 192, 1194),
        ("learned", "standard", 640 * 640, 300),
        ("learned", "standard", 32 * 32, 1200),
        ("learned", "thorough", 416 * 416, 1200),
        ("auto", "standard", 192 * 192, 400),
        ("auto", "standard", 640 * 640, 300),
    ],
)
def test_the_effort_says_how_many_pictures(rounding, effort, pixels, pictures):
    """A budget of pixels, and no fewer pictures than it takes to learn anything.

    Biases alone take fewer.
    """
    recipe = Recipe(rounding=rounding, effort=effort)
    assert Schedule.of(recipe, pixels).pictures == pictures


def test_a_recipe_has_priority_over_the_effort():
    """Pictures and rate; without a rate it goes by the pictures."""
    asked = Schedule.of(Recipe(pictures_seen=70, rate=0.03), 192 * 192)
    assert (asked.pictures, asked.weight_rate) == (70, 0.03)
    assert Schedule.of(Recipe(pictures_seen=100), 1).weight_rate == pytest.approx(0.02)
    learned = Recipe(effort="thorough", rounding="learned")
    assert Schedule.of(TUNED, 192 * 192) == Schedule.of(learned, 192 * 192)


def test_rates_rise_and_fall():
    """They warm up, and end near zero; weights follow after a quarter of the steps."""
    schedule = Schedule(pictures=400, weight_rate=0.01, bias_rate=0.002)
    steps = [schedule.scalars(step, 4) for step in range(schedule.steps(4))]
    assert all(tuple(each) == SCALARS for each in steps)
    corrected = [1 - 0.9 ** (i + 1) for i in range(100)]
    weights, biases = (
        [each[name] * by for each, by in zip(steps, corrected, strict=True)]
        for name in ("weight_step", "bias_step")
    )
    assert set(weights[:25]) == {0}
    assert 0 < weights[25] < weights[30] < weights[34] == max(weights) <= 0.01 * 2
    assert biases[0] < biases[5] < biases[9] == max(biases) <= 0.002 * 2
    for rates in (weights, biases):
        assert rates[-1] < 0.001 * max(rates)


def test_one_step_at_least():
    """Also where a step takes more pictures than there are to be looked at."""
    assert Schedule(pictures=3).steps(8) == 1
