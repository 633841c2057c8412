"""Non-maximum suppression against a plain loop, and its limits."""

import numpy as np
import pytest

from zqc.detection.boxes import iou_matrix
from zqc.detection.nms import Selection, choose, select, suppress

SHIFTED = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)


def test_an_overlapping_box_of_the_same_class_is_dropped():
    """IoU 9/11 with a better box of the class is above 0.6; the box apart stays."""
    assert suppress(SHIFTED, np.array([0, 0, 0]), 0.6, 10).tolist() == [0, 2]


def test_classes_do_not_suppress_each_other():
    """The same boxes in different classes all stay."""
    assert suppress(SHIFTED, np.array([0, 1, 0]), 0.6, 10).tolist() == [0, 1, 2]


def test_the_threshold_itself_does_not_suppress():
    """A box is dropped when the IoU exceeds the threshold, here exactly 1/2."""
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], float)
    assert suppress(boxes, np.array([0, 0]), 0.5, 10).tolist() == [0, 1]
    assert suppress(boxes, np.array([0, 0]), 0.49, 10).tolist() == [0]


def test_nms_equals_a_plain_loop():
    """Random boxes and classes give what the textbook loop over pairs gives."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (300, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (300, 2))], axis=1)
    labels = rng.integers(0, 3, 300)
    expected: list[int] = []
    for index in range(300):
        rivals = [k for k in expected if labels[k] == labels[index]]
        overlaps = iou_matrix(boxes[index][None], boxes[rivals])[0] if rivals else np.zeros(1)
        if (overlaps <= 0.4).all():
            expected.append(index)
    assert suppress(boxes, labels, 0.4, 1000).tolist() == expected
    assert suppress(boxes, labels, 0.4, 7).tolist() == expected[:7]


def test_a_box_may_be_found_in_several_classes():
    """Scores above the threshold each count; they come out best first with their labels."""
    scores = np.array([[0.2, 0.9], [0.0, 0.0], [0.5, 0.0005]], np.float32)
    found = select(SHIFTED, scores)
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert found.labels.tolist() == [1, 0, 0]
    assert found.boxes[1].tolist() == SHIFTED[2].tolist()


def test_limits_of_candidates_and_detections():
    """Only the best candidates enter and only the best detections leave."""
    scores = np.array([[0.2], [0.9], [0.5]], np.float32)
    assert len(select(SHIFTED, scores, Selection(candidates=1))) == 1
    assert select(SHIFTED, scores, Selection(detections=1)).scores.tolist() == [np.float32(0.9)]


def test_nothing_above_the_threshold_gives_no_detections():
    """Dead scores are an ordinary case, not an error."""
    found = select(SHIFTED, np.zeros((3, 4), np.float32))
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_above_keeps_only_greater_scores():
    """A score equal to the threshold is not above it."""
    found = select(SHIFTED, np.array([[0.25], [0.0], [0.5]], np.float32))
    assert found.above(0.25).scores.tolist() == [0.5]


def test_candidates_are_named_for_what_else_they_have():
    """Rows and classes of the detections, by any overlap: here none, so that all are kept."""
    scores = np.array([[0.2, 0.9], [0.0, 0.0], [0.5, 0.0005]], np.float32)
    rows, labels = choose(SHIFTED, scores)
    assert (rows.tolist(), labels.tolist()) == ([0, 2, 0], [1, 0, 0])
    same = np.repeat(SHIFTED[:1], 3, axis=0)
    kept = [len(choose(same, scores + 0.1)[0])]
    kept.append(len(choose(same, scores + 0.1, overlap=lambda a, b: np.zeros((len(a), len(b))))[0]))
    assert kept == [2, 6]
