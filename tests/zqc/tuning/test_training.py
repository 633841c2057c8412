"""The loop of training: what it looks at, what ends it early, and how it goes on."""

import re
import sys
from functools import partial

import numpy as np
import pytest

from tests.zqc.tuning import test_tune
from tests.zqc.tuning.test_tune import error, tuned
from zqc.files.store import Store
from zqc.progress import Lines
from zqc.tuning.objective import USUAL, Objective
from zqc.tuning.schedule import Schedule
from zqc.tuning.training import Training

SHORT = Schedule(pictures=40, weight_rate=0.05)
ALL = Objective(heads=0.1, dampening=0.1, average=True)


def ended_at(monkeypatch, number, ending):
    """Let the step of that number, from 1 on, end the training."""
    stepped, calls = Training._stepped, iter(range(1, 10**6))

    def ends(self, *arguments):
        if next(calls) == number:
            raise ending
        return stepped(self, *arguments)

    monkeypatch.setattr(Training, "_stepped", ends)


def integers(model):
    """The bytes of all initializers."""
    return [value.const_value.numpy().tobytes() for value in model.graph.initializers.values()]


def test_one_picture_is_enough():
    """It is trained on and looked at."""
    model, _, after, unseen = tuned(pictures=1)
    assert np.isfinite(error(model, after, unseen))


def test_ctrl_c_keeps_the_best_so_far(monkeypatch, capsys):
    """The training ends early, and what it has found until then is what comes out."""
    ended_at(monkeypatch, 150, KeyboardInterrupt)
    model, before, after, unseen = tuned(progress=Lines(sys.stdout))
    assert error(model, after, unseen) < error(model, before, unseen)
    assert "interrupted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ending", "objective"), [(SystemExit, ALL), (KeyboardInterrupt, USUAL)], ids=["all", "usual"]
)
def test_a_training_that_was_cut_short_goes_on_to_the_same_integers(
    ending, objective, tmp_path, monkeypatch, capsys
):
    """From the last look, every second step, averages included; what is finished is not kept."""
    tuned = partial(test_tune.tuned, schedule=SHORT, objective=objective)
    *_, reference, _ = tuned()
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        ended_at(patch, 18, ending)
        if ending is SystemExit:  # as little is done about it as about a kill
            with pytest.raises(SystemExit):
                tuned(store=store)
        else:
            tuned(store=store)
    assert len(list(tmp_path.iterdir())) == 1
    *_, again, _ = tuned(store=store, progress=Lines(sys.stdout))
    assert integers(again) == integers(reference)
    said = capsys.readouterr().out
    assert "Going on where learning stopped earlier: 16 of 20 steps are done" in said
    assert list(tmp_path.iterdir()) == []


def test_another_training_begins_anew(tmp_path, monkeypatch):
    """One with another seed has nothing to go on from."""
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        ended_at(patch, 18, KeyboardInterrupt)
        tuned(schedule=SHORT, store=store)
    *_, reference, _ = tuned(schedule=SHORT, seed=1)
    *_, other, _ = tuned(schedule=SHORT, seed=1, store=store)
    assert integers(other) == integers(reference)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_average_is_taken_where_it_is_better():
    """At rates at which all swing, the average is nearer to the float model than they are."""
    wild = Schedule(pictures=200, weight_rate=0.05, bias_rate=0.05)
    model, before, after, unseen = tuned(schedule=wild)
    alone = error(model, after, unseen)
    model, _, after, unseen = tuned(schedule=wild, objective=Objective(average=True))
    assert error(model, after, unseen) < alone <= error(model, before, unseen)


def test_what_is_told_has_the_parts_of_the_loss(capsys):
    """Each as the share of what it began with."""
    tuned(schedule=SHORT, objective=ALL, progress=Lines(sys.stdout))
    assert re.search(r"error \d+% \(features \d+%, heads \d+%\)", capsys.readouterr().out)


def test_a_part_that_counts_nothing_is_said(monkeypatch, capsys):
    """Where it is 0 from the beginning; the others are not named."""
    measured = Training._measured

    def without_heads(self, *arguments):
        return tuple(
            0.0 if part == "heads" else value
            for part, value in zip(self.graphs.parts, measured(self, *arguments), strict=True)
        )

    monkeypatch.setattr(Training, "_measured", without_heads)
    tuned(schedule=SHORT, objective=ALL, progress=Lines(sys.stdout))
    said = re.findall(r"The (\w+) loss counts nothing", capsys.readouterr().out)
    assert said == ["heads"]
