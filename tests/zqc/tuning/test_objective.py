"""What the parts of the loss count."""

import pytest

from zqc.recipe.recipe import TUNED, Recipe
from zqc.tuning.objective import PARTS, USUAL, Objective, total


def test_parts_count_in_multiples_of_the_features():
    """Whatever their units: at the beginning each is its weight times the loss of the features."""
    objective = Objective(features=2.0, agreement=0.3, detection=0.1, heads=0.5)
    first = (4.0, 100.0, 0.01, 7.0)
    shares = [
        loss * weight for loss, weight in zip(first, objective.weights(PARTS, first), strict=True)
    ]
    assert shares == pytest.approx([8.0, 1.2, 0.4, 2.0])
    assert total(first, objective.weights(PARTS, first)) == pytest.approx(11.6)


def test_a_part_that_is_zero_at_the_beginning_counts_nothing():
    """There is nothing to measure it by."""
    assert Objective().weights(("features", "agreement"), (4.0, 0.0)) == (1.0, 0.0)


def test_a_recipe_says_what_counts():
    """What it does not name counts what it usually does."""
    recipe = Recipe(loss_weights={"detection": 0.2, "agreement": 0.0}, ema=True)
    assert Objective.of(recipe) == Objective(detection=0.2, agreement=0.0, average=True)
    assert Objective.of(Recipe(effort="thorough")) == Objective.of(TUNED) == USUAL


def test_features_are_always_computed_and_others_where_they_count():
    """They are what the others are measured by, even where they count nothing themselves."""
    heads = Objective(features=0.0, agreement=0.0, heads=1.0)
    assert [part for part in PARTS if heads.counts(part)] == ["features", "heads"]
    assert [part for part in PARTS if USUAL.counts(part)] == ["features", "agreement"]
