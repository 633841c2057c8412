"""Boxes and scores that are decoded in the graph."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, decoded, facts_of
from zqc.detection.conventions.decoded import BoxesAndScores
from zqc.detection.conventions.recognise import recognise

CELLS = 256 + 64


def names(count):
    """The names of so many classes, as Ultralytics writes them."""
    return {"metadata": {"names": str([f"class {number}" for number in range(count)])}}


def outputs(boxes, scores, *, by_class=False, per_cell=1):
    """One box with its scores among many with none."""
    all_boxes = np.zeros((1, CELLS * per_cell, 4), np.float32)
    all_scores = np.zeros((1, CELLS * per_cell, len(scores)), np.float32)
    all_boxes[0, 7], all_scores[0, 7] = boxes, scores
    if by_class:
        all_scores = all_scores.transpose(0, 2, 1)
    return {"boxes": all_boxes, "scores": all_scores}


@pytest.mark.parametrize(
    ("options", "box"),
    [
        ({}, [16, 32, 48, 96]),
        ({"by_class": True}, [16, 32, 48, 96]),
        ({"columns": (1, 0, 3, 2), "relative": True}, [0.25, 0.125, 0.75, 0.375]),
        ({"centred": True, "relative": True}, [0.25, 0.5, 0.25, 0.5]),
    ],
    ids=str,
)
def test_boxes_are_read_as_they_are_written(options, box):
    """In either order, as corners or centre and size, in pixels or relative to the input."""
    convention = recognise(facts_of(decoded(scores="Sigmoid", **options)))
    assert isinstance(convention, BoxesAndScores)
    assert (convention.classes, convention.background) == (5, False)
    by_class = options.get("by_class", False)
    [found] = convention.decode(outputs(box, [0, 0, 0.75, 0, 0], by_class=by_class), ALL)
    assert found.boxes.tolist() == [[16, 32, 48, 96]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([2], [0.75])


def test_an_ssd_has_background_in_column_0():
    """Behind Softmax, several boxes in a cell, and perhaps landmarks, as RetinaFace has."""
    for landmarks in (0, 10):
        model = decoded(scores="Softmax<axis=-1>", names=2, per_cell=2, landmarks=landmarks)
        convention = recognise(facts_of(model))
        assert isinstance(convention, BoxesAndScores)
        assert (convention.classes, convention.background) == (1, True)
        given = outputs([16, 32, 48, 96], [0.25, 0.75], per_cell=2)
        [found] = convention.decode(given, ALL)
        assert (found.labels.tolist(), found.scores.tolist()) == ([0], [0.75])


@pytest.mark.parametrize(
    ("scores", "per_cell", "known", "classes"),
    [
        ("Sigmoid", 2, 5, 5),
        ("Sigmoid", 2, 4, 4),
        ("Softmax<axis=-1>", 1, 5, 5),
        ("Softmax<axis=-1>", 1, 4, 4),
    ],
)
def test_names_tell_whether_there_is_background(scores, per_cell, known, classes):
    """As many names as columns, or one fewer."""
    found = recognise(facts_of(decoded(scores=scores, per_cell=per_cell), **names(known)))
    assert isinstance(found, BoxesAndScores)
    assert (found.classes, found.background) == (classes, classes < 5)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"scores": "Sigmoid", "per_cell": 2}, {}),
        ({"scores": "Sigmoid"}, names(3)),
        ({"scores": "Relu"}, {}),
        ({"scores": "Identity"}, {}),
        ({"scores": "Sigmoid", "scale": 2.0}, {}),
        ({"scores": "Sigmoid", "landmarks": 8}, {}),
        ({"scores": "Softmax<axis=-1>", "names": 1}, {}),
    ],
    ids=str,
)
def test_what_is_not_seen_is_not_known(options, known):
    """Background of sigmoids with anchors, other numbers of names, other scores, no boxes, more."""
    assert recognise(facts_of(decoded(**options), **known)) is None
