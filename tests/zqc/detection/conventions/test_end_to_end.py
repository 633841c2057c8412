"""Rows that the graph has selected: nothing is suppressed again, padding is dropped."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, facts_of, is_found, reference
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.end_to_end import EndToEnd
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_segment import masks_of
from zqc.detection.rotated import corners

SELECTED = """(float[1, 84, 4] boxes, float[1, 84, 3] scores) => (float[1, 12, 6] output0)
  <int64[1] k = {12}, int64[2] flat = {1, 252}, int64 three = {3}, int64[1] last = {2}> {
    logits = Reshape(scores, flat)  p = Sigmoid(logits)
    best, places = TopK<axis = 1>(p, k)  score = Unsqueeze(best, last)
    number = Mod(places, three)  row = Div(places, three)  label = Unsqueeze(number, last)
    label_float = Cast<to = 1>(label)
    one = Unsqueeze(row, last)  four = Concat<axis = 2>(one, one, one, one)
    box = GatherElements<axis = 1>(boxes, four)
    output0 = Concat<axis = -1>(ORDER)
}"""
NETWORK = SELECTED.replace("ORDER", "box, score, label_float")


def test_a_network_is_known_from_its_graph_and_decoded_as_by_its_package():
    """Boxes, the best scores and whole numbers, joined: the rows above the threshold are kept."""
    convention = recognise(facts_of(NETWORK))
    assert convention == EndToEnd("output0", "detect", 0, 64, 64)
    output, expected = reference("selected", "selected_found")
    [found] = convention.decode({"output0": output}, SELECTION)
    assert is_found(found, expected)


def test_overlapping_rows_are_kept_and_padding_is_not():
    """Two equal boxes of a class stay two; a score of 0 is no detection."""
    output = np.zeros((1, 4, 6), np.float32)
    output[0, :2] = [[1, 2, 3, 4, 0.5, 7], [1, 2, 3, 4, 0.75, 7]]
    [found] = EndToEnd("o", "detect", 0, 64, 64).decode({"o": output})
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.labels.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("metadata", "shapes", "expected"),
    [
        ({"task": "detect", "end2end": "True"}, {"o": (1, 300, 6)}, ("detect", "", None)),
        ({"task": "detect", "args": "{'nms': True}"}, {"o": (1, 300, 6)}, ("detect", "", None)),
        ({"task": "obb", "end2end": "True"}, {"o": (1, 300, 7)}, ("obb", "", None)),
        (
            {"task": "pose", "end2end": "True", "kpt_shape": "[17, 3]"},
            {"o": (1, 300, 57)},
            ("pose", "", (17, 3)),
        ),
        (
            {"task": "segment", "end2end": "True"},
            {"o": (1, 300, 38), "p": (1, 32, 160, 160)},
            ("segment", "p", None),
        ),
        # What was before the selection is left alone.
        ({"end2end": "True"}, {"o": (1, 300, 6), "b": (1, 8400, 4)}, ("detect", "", None)),
        ({"task": "detect", "end2end": "False"}, {"o": (1, 300, 6)}, None),
        ({"task": "detect", "end2end": "True"}, {"o": (1, 300, 7)}, None),
        ({"task": "pose", "end2end": "True"}, {"o": (1, 300, 57)}, None),
        ({"task": "segment", "end2end": "True"}, {"o": (1, 300, 38)}, None),
        ({"task": "classify", "end2end": "True"}, {"o": (1, 300, 6)}, None),
        ({}, {"o": (1, 300, 6)}, None),
    ],
)
def test_the_file_says_that_it_selects(metadata, shapes, expected):
    """The columns must be those of the task; without a word and a graph nothing is known."""
    found = recognise(Facts(shapes, 640, 640, metadata=metadata))
    assert (None if found is None else (found.task, found.prototypes, found.keypoints)) == expected


@pytest.mark.parametrize("order", ["label_float, score, box", "box, label_float, score"])
def test_other_orders_of_columns_are_not_read(order):
    """Six columns may come in any order; the graph must show that of YOLO."""
    assert recognise(facts_of(SELECTED.replace("ORDER", order))) is None


def test_rows_of_other_tasks():
    """Keypoints, angles and coefficients stand behind the class."""
    rows = np.array([[8, 8, 24, 24, 0.5, 1, 2, 3, 1]], np.float32)[None]
    [pose] = EndToEnd("o", "pose", 2, 64, 64, keypoints=(1, 3)).decode({"o": rows})
    assert pose.keypoints.tolist() == [[[2, 3, 1]]]
    [obb] = EndToEnd("o", "obb", 2, 64, 64).decode({"o": rows[..., :7]})
    assert (obb.corners == corners(np.array([[8, 8, 24, 24, 2]], np.float32))).all()
    prototypes = np.linspace(0.6, -1.4, 256, dtype=np.float32).reshape(1, 1, 16, 16)
    segment = EndToEnd("o", "segment", 2, 64, 64, prototypes="p")
    [masked] = segment.decode({"o": rows[..., :7], "p": prototypes})
    box = np.array([[8, 8, 24, 24]])
    expected = masks_of(np.array([[2]], np.float32), prototypes[0], box, 64, 64)
    assert (masked.masks.arrays() == expected.arrays()).all()
    assert 0 < masked.masks.areas.sum() < 16
