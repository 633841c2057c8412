"""Pictures that show labelled objects: they do, by seed alone, and an interrupted run goes on."""

import io

import numpy as np
import pytest

from tests.zqc.synthesis.small_detector import CELLS, CLASSES, SIZE, detector
from tests.zqc.synthesis.small_nets import Recorder
from zqc.detection.boxes import corners_from_centres
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.losses.known import loss_of
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.generate import synthesize
from zqc.synthesis.loop import Loop, Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.state import State

PICTURE = (3, SIZE, SIZE)
SCHEDULE = Schedule(5, 6, rate=0.02, sampling=7)
OBJECTIVE = Objective(flip=False, detection=1.0)
YOLO = Yolo("output0", CLASSES)
LOSS = loss_of(YOLO, Facts({"output0": (1, 4 + CLASSES, CELLS)}, SIZE, SIZE))


@pytest.fixture
def parts():
    """The detector and its statistics."""
    model = detector()
    return model, harvest(model)


def made(parts, schedule=SCHEDULE, objective=OBJECTIVE, **options):
    """Synthesise pictures with labels."""
    model, layers = parts
    return synthesize(
        model,
        layers,
        picture=PICTURE,
        input_format=InputFormat(),
        schedule=schedule,
        objective=objective,
        detector=LOSS,
        **{"progress": Recorder(), **options},
    )


def rows(labels):
    """Labels as one array."""
    return np.concatenate([np.column_stack([one.boxes, one.classes]) for one in labels])


def test_a_seed_decides_pictures_and_labels(parts):
    """The same bytes on 1 and 3 threads, others by another seed."""
    first, same = (made(parts, threads=threads) for threads in (1, 3))
    assert first.tensors.tobytes() == same.tensors.tobytes()
    np.testing.assert_array_equal(rows(first.labels), rows(same.labels))
    assert len(first.labels) == 5
    other = made(parts, Schedule(5, 6, rate=0.02, sampling=7, seed=1))
    assert rows(other.labels).tolist() != rows(first.labels).tolist()
    assert len(first.losses) == 7  # of the pictures with these labels


def test_resumed_anywhere_it_ends_the_same(parts):
    """A state that was written and read after any wave goes on to the same pictures and labels."""
    whole = made(parts, threads=1)
    model, layers = parts
    loop = Loop.of(model, layers, PICTURE, InputFormat(), SCHEDULE, OBJECTIVE, 1, LOSS)
    state = loop.start()
    while state.iteration < SCHEDULE.passes:
        assert loop.advance(state)
        file = io.BytesIO()
        np.savez(file, **state.to_arrays())
        file.seek(0)
        with np.load(file) as archive:
            state = State.from_arrays(dict(archive), SCHEDULE.sizes)
    again = np.concatenate([part.copy() for part in loop.measure(state)])
    assert again.tobytes() == whole.tensors.tobytes()
    shown = [one for labels in state.labels for one in labels.objects]
    np.testing.assert_array_equal(rows(shown), rows(whole.labels))


def test_stopped_between_the_stages_it_begins_the_second_one(parts):
    """Where Ctrl-C comes before the pictures are made anew, that is done later."""
    model, layers = parts
    loop = Loop.of(model, layers, PICTURE, InputFormat(), SCHEDULE, OBJECTIVE, 1, LOSS)
    state = loop.start()
    first = state.losses[0]
    while state.iteration < SCHEDULE.sampling:
        loop.advance(state)
    state.losses.clear()
    loop.advance(state)
    assert state.iteration == SCHEDULE.sampling + 1
    assert state.losses[0] == pytest.approx(first, rel=1e-9)


def class_loss(parts, made):
    """Cross entropy of the classes against what the labels assign, mean over the pictures."""
    model, _ = parts
    output = session.load(model, threads=1)({"images": made.tensors})["output0"].transpose(0, 2, 1)
    corners = corners_from_centres(output[..., :4])
    losses = []
    for goal, one, row in zip(
        LOSS.assigned(corners, output[..., 4:], made.labels), made.labels, output, strict=True
    ):
        target = np.zeros((CELLS, CLASSES))
        taken = np.flatnonzero(goal.owner >= 0)
        target[taken, one.classes[goal.owner[taken]]] = goal.target[taken]
        score = row[:, 4:].astype(float)
        entropy = -target * np.log(score) - (1 - target) * np.log(1 - score)
        losses.append(entropy.sum() / max(1, goal.target.sum()))
    return np.mean(losses)


def test_the_pictures_show_what_their_labels_say(parts):
    """The loss of the detector against the same labels is lower than without its weight."""
    schedule = Schedule(6, 30, rate=0.02)
    shown = made(parts, schedule, Objective(flip=False, detection=1.0))
    without = made(parts, schedule, Objective(flip=False, detection=0.0))
    np.testing.assert_array_equal(rows(shown.labels), rows(without.labels))
    assert class_loss(parts, shown) < 0.8 * class_loss(parts, without)


def test_labels_are_fitted_in_the_first_stage_alone():
    """From a third of the sampling on, at a few steps, never later."""
    schedule = Schedule(4, 50, sampling=60)
    due = [done for done in range(1, 111) if schedule.samples_labels(done)]
    assert due == list(range(20, 60, 2))
    assert schedule.passes == 110
    assert schedule.stage(59) == (59, 60)
    assert schedule.stage(60) == (0, 50)
    assert not any(Schedule(4, 50).samples_labels(done) for done in range(51))
