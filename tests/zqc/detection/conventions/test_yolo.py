"""YOLOv8 and its relatives, with what the package's own suppression finds."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import (
    SELECTION,
    facts_of,
    is_found,
    reference,
    rows_network,
)
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo import Yolo

NETWORK = rows_network(("box", 4), ("scores", 3))


@pytest.mark.parametrize("metadata", [{}, {"task": "detect", "names": "['a', 'b', 'c']"}])
def test_a_network_is_known_and_decoded_as_by_its_package(metadata):
    """The network needs no options; the detections are those of ultralytics."""
    convention = recognise(facts_of(NETWORK, metadata=metadata))
    assert convention == Yolo("output0", 3)
    output, expected = reference("detect", "detect_found")
    [found] = convention.decode({"output0": output}, SELECTION)
    assert is_found(found, expected)


@pytest.mark.parametrize(
    ("shape", "size", "classes"),
    [
        ((1, 84, 8400), 640, 80),
        ((2, 14, 756), 192, 10),
        ((1, 6, 34000), 640, 2),
        ((1, 8400, 84), 640, None),
        ((1, 84, 8401), 640, None),
        ((1, 1000), 224, None),
        ((1, 4, 8400), 640, None),
    ],
)
def test_the_shape_must_fit_the_grids(shape, size, classes):
    """As many columns as cells, and rows for the box and a class; here the file gives the task."""
    facts = Facts({"o": shape}, size, size, metadata={"task": "detect"})
    assert Yolo.of(facts) == (None if classes is None else Yolo("o", classes))


def test_two_pictures_are_told_apart():
    """One box per picture with a known place and class comes out of N x (4 + C) x A."""
    output = np.zeros((2, 7, 30), np.float32)
    output[0, :, 3] = [50, 40, 20, 10, 0, 0.75, 0]
    output[1, :, 5] = [10, 10, 4, 4, 0, 0, 0.5]
    first, second = Yolo("o", 3).decode({"o": output})
    assert first.boxes.tolist() == [[40, 35, 60, 45]]
    assert (first.labels.tolist(), first.scores.tolist()) == ([1], [0.75])
    assert (second.labels.tolist(), second.boxes.tolist()) == ([2], [[8, 8, 12, 12]])
