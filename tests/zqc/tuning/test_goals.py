"""What candidates are to predict, by labels and by what the float model is sure of."""

import numpy as np
import pytest

from passes.lower.fixed_batch import FixedBatch
from tests.passes.helpers import run_model
from tests.zqc.synthesis.small_detector import CELLS, CLASSES, SIZE, detector
from zqc.autodiff.shapes import infer_shapes
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.losses.assignment import Objects
from zqc.detection.losses.loss import GOALS, goals
from zqc.detection.losses.yolo import decoded
from zqc.tuning.goals import READ, Goals, reader

LOSS = decoded(Yolo("output0", CLASSES), CELLS, (SIZE, SIZE))
LABELS = Objects(np.array([[4, 8, 30, 40], [33, 20, 60, 64]], np.float32), np.array([0, 1]))


@pytest.fixture(scope="module")
def model():
    """The float model, for batches of two."""
    found = detector()
    FixedBatch(2)(found)
    infer_shapes(found)
    return found


@pytest.fixture
def pictures(rng):
    """Two pictures."""
    return rng.uniform(0, 1, (2, 3, SIZE, SIZE)).astype(np.float32)


def of(model, labels):
    """The goals of pictures with these labels."""
    return Goals(reader(model, LOSS), LOSS, "images", 2, labels, 1)


def test_labels_are_assigned_by_what_the_float_model_says(model, pictures):
    """As the detector assigns them by its boxes and scores; the batch makes no difference."""
    found = of(model, [LABELS, LABELS])([(0, False), (1, False)], pictures)
    said = run_model(reader(model, LOSS), images=pictures)
    objects = [LABELS, LABELS]
    expected = goals(objects, LOSS.assigned(*(said[name] for name in READ), objects))
    assert set(found) == set(GOALS)
    for name in GOALS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
    again = of(model, [LABELS, LABELS])([(1, False)], pictures[1:])
    assert all(np.array_equal(again[name][0], found[name][1]) for name in GOALS)


def test_boxes_of_a_mirrored_picture_are_mirrored(model, pictures):
    """Twice is as it was, and what a mirrored picture is to show is the mirrored boxes."""
    twice = LABELS.mirrored(SIZE).mirrored(SIZE)
    assert np.array_equal(twice.boxes, LABELS.boxes)
    found = of(model, [LABELS])([(0, True)], pictures[:1])
    shown = np.unique(found["goal_boxes"][0][found["goal_classes"][0, :, 0] >= 0], axis=0)
    assert shown.tolist() == [[4, 20, 31, 64], [34, 8, 60, 40]]


def test_without_labels_the_float_model_is_taken_at_its_word(model, pictures, monkeypatch):
    """What it is sure of is the label; where it is sure of nothing, the picture counts nothing."""
    every = of(model, [])([(0, False)], pictures[:1])
    sure = run_model(reader(model, LOSS), images=pictures)[READ[1]][0].max() > 0.3
    assert (every["goal_targets"].sum() > 0) == sure
    monkeypatch.setattr("zqc.tuning.goals.SCORE_THRESHOLD", 1.0)
    none = of(model, [None])([(0, False)], pictures[:1])
    assert not any(none[name].any() for name in ("goal_targets", "goal_counted"))
    assert (none["goal_classes"] == -1).all()


def test_a_picture_known_to_be_empty_counts(model, pictures):
    """All of its candidates are to find nothing."""
    nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    found = of(model, [nothing])([(0, False)], pictures[:1])
    assert found["goal_counted"].all()
    assert not found["goal_targets"].any()
