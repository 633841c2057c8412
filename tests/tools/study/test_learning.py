"""The rows of the ablation of learned rounding."""

import pytest

import zqc
from tools.study import learning
from tools.study.cases import EXAMPLE, Case
from tools.study.learning import _LEARNED, ROWS, bits_of
from zqc.tuning.objective import USUAL, Objective


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_a_recipe(name):
    """Those that begin to learn learn, at any number of bits, and those before do not."""
    row = ROWS[name]
    recipe = zqc.Recipe(**row.options, **bits_of("W2A4"))
    assert (recipe.bits, recipe.act_bits) == (2, 4)
    assert recipe.learns_weights == (name == "learned" or name.startswith("+"))
    assert recipe.learns == (recipe.learns_weights or name == "biases")


def test_the_last_rows_are_what_learned_rounding_does():
    """With the usual loss: those before it with uniform levels, and the same bits everywhere."""
    *_, last, mixed, levels = ROWS.values()
    assert last.objective == mixed.objective == levels.objective == USUAL
    assert levels.options == {"rounding": "learned"}
    assert mixed.options == {**levels.options, "weight_levels": "uniform"}
    assert last.options == {**mixed.options, "uniform_bits": True} == _LEARNED


def test_a_row_is_learned_with_its_own_objective(monkeypatch, tmp_path):
    """Whatever the recipe says, and not for good."""
    seen = []
    monkeypatch.setattr(Case, "compile", lambda *_, **__: seen.append(Objective.of(zqc.Recipe())))
    monkeypatch.setattr(learning, "scores", lambda *_: {})
    row = ROWS["learned"]
    learning._measured(EXAMPLE, row, bits_of("W4A4"), {0: tmp_path / "pictures.npz"}, 1)
    assert seen == [row.objective]
    assert Objective.of(zqc.Recipe()) == USUAL != row.objective
