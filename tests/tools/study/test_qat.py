"""The rows and columns of the ablation of training."""

import pytest
from click.testing import CliRunner

from tools.study import qat
from tools.study.cases import EXAMPLE
from tools.study.qat import ROWS, SOURCES, calibration
from zqc.recipe.recipe import Recipe
from zqc.tuning.objective import USUAL, Objective


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_a_recipe(row):
    """All but the first learn, and the default is what learned rounding does."""
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


def test_cells_stand_in_their_rows_and_columns(tmp_path, monkeypatch):
    """Whatever is measured at once, a table has the rows and the sources in their order."""
    monkeypatch.setattr(qat, "measured", said)
    rows = ["and heads", "not trained"]
    line = [tmp_path, tmp_path, "--rows", ";".join(rows), "--sources", "noise,task", "--seeds", "7"]
    result = CliRunner().invoke(qat.main, list(map(str, line)))
    assert result.exit_code == 0, result.output
    table = result.output.splitlines()[-4:]
    assert table[0] == "| | noise | task |"
    assert table[2].startswith("| and heads | AP 4.0")
    assert table[3].startswith("| not trained | AP 3.0")
    assert "AP50 7.0" in table[2]


def said(_case, source, fields, seeds, _threads):
    """Numbers that tell what was asked for."""
    heads = "heads" in fields.get("loss_weights", {})
    return [{"AP": float(3 + heads), "AP50": float(seeds[0]), "seconds": float(len(source))}]
