"""Labels are drawn at random, fitted to what a detector finds, and kept."""

import numpy as np
import pytest

from zqc.detection.losses.assignment import Assignment, Objects
from zqc.synthesis.labels import Labels, adapted, first_objects

SIZE = (50, 100)


def objects(*rows):
    """Labels from (x1, y1, x2, y2, class)."""
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Objects(values[:, :4], values[:, 4].astype(np.int64))


def said(*rows):
    """What a detector says: (x1, y1, x2, y2, score), all of class 1 of 3."""
    values = np.array(rows, np.float32).reshape(-1, 5)
    scores = np.zeros((len(values), 3), np.float32)
    scores[:, 1] = values[:, 4]
    return values[:, :4], scores


def rows_of(found):
    """Labels as they are written above."""
    return np.column_stack([found.boxes, found.classes]).tolist()


def test_one_box_anywhere_inside():
    """Sides are between 0.2 and 0.8 of the picture's and fill that range, no box leaves it."""
    drawn = first_objects(np.random.default_rng(3), 500, 4, SIZE)
    boxes = np.concatenate([one.boxes for one in drawn]) / [100, 50, 100, 50]
    sides = boxes[:, 2:] - boxes[:, :2]
    assert [len(one) for one in drawn] == [1] * 500
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert 0.2 <= sides.min() < 0.22
    assert 0.78 < sides.max() <= 0.8 + 1e-6
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    np.testing.assert_allclose(centres.mean(axis=0), 0.5, atol=0.02)
    counts = np.bincount(np.concatenate([one.classes for one in drawn]))
    assert counts.min() > 90
    again = first_objects(np.random.default_rng(3), 500, 4, SIZE)
    assert all((a.boxes == b.boxes).all() for a, b in zip(drawn, again, strict=True))


FIRST = (10, 10, 40, 40, 0)


@pytest.mark.parametrize(
    ("labels", "found", "expected"),
    [
        pytest.param([FIRST], [(10, 10, 40, 40, 0.9)], [FIRST], id="found: it stays"),
        pytest.param([FIRST], [], [FIRST], id="nothing found: it stays"),
        pytest.param([FIRST], [(60, 0, 90, 30, 0.19)], [FIRST], id="unsure: not added"),
        pytest.param(
            [FIRST], [(60, 0, 90, 30, 0.21)], [FIRST, (60, 0, 90, 30, 1)], id="sure: added"
        ),
        pytest.param([FIRST], [(20, 10, 50, 40, 0.9)], [FIRST], id="overlaps by 0.5: not added"),
        pytest.param([FIRST], [(60, 0, 66, 8, 0.9)], [FIRST], id="area 0.0096: not added"),
        pytest.param([FIRST], [(0, 0, 100, 44, 0.9)], [FIRST], id="area 0.88: not added"),
        pytest.param(
            [FIRST, (60, 0, 90, 30, 2)],
            [(10, 10, 40, 40, 0.9)],
            [FIRST],
            id="one of two is not found: dropped",
        ),
        pytest.param(
            [FIRST, (60, 0, 90, 30, 2)],
            [(34, 34, 60, 50, 0.9)],
            [FIRST, (34, 34, 60, 50, 1)],
            id="none of two is found: the nearest stays",
        ),
        pytest.param(
            [FIRST], [(80, 20, 120, 60, 0.9)], [FIRST, (80, 20, 100, 50, 1)], id="cut at the border"
        ),
    ],
)
def test_labels_are_fitted_to_what_is_found(labels, found, expected):
    """Case by case, as the method says."""
    boxes, scores = said(*found, (0, 0, 1, 1, 0.0))
    assert rows_of(adapted(objects(*labels), boxes, scores, SIZE)) == [list(r) for r in expected]


def test_arrays_hold_labels(rng):
    """What is written to a checkpoint is read again, picture by picture, bit by bit."""
    shown = (objects(FIRST), objects(FIRST, (60, 0, 90, 30, 2)))
    assigned = tuple(
        Assignment(
            rng.integers(-1, 2, 7),
            rng.random(7).astype(np.float32),
            rng.integers(0, 2, 7).astype(np.float32),
        )
        for _ in shown
    )
    arrays = Labels(shown, assigned).to_arrays()
    parts = Labels.from_arrays(arrays)
    assert [rows_of(part.objects[0]) for part in parts] == [rows_of(one) for one in shown]
    again = Labels.joined(parts).to_arrays()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    assert Labels.from_arrays({}) == ()
