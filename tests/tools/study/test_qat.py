"""The rows and columns of the ablation of training."""

import pytest

from tools.study.cases import EXAMPLE
from tools.study.qat import ROWS, SOURCES, calibration
from zqc.recipe.recipe import Recipe
from zqc.tuning.objective import USUAL, Objective


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_a_recipe(row):
    """All but the first learn, and the default is what compile does."""
    recipe = Recipe(**ROWS[row])
    assert recipe.learns == (row != "not trained")
    assert (Objective.of(recipe) == USUAL) == (row in ("not trained", list(ROWS)[3]))


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_is_one_of_compile(source):
    """Pictures of the example lie in a folder, with labels only where these are asked for."""
    with calibration(EXAMPLE, source) as (fields, given):
        recipe = EXAMPLE.recipe(**fields)
        assert recipe.task_specific == (source == "task")
        assert set(given) == {
            "noise": {"no_statistics"},
            "real": {"images"},
            "labels": {"images", "labels"},
        }.get(source, set())
        assert all(path.exists() for name, path in given.items() if name != "no_statistics")
