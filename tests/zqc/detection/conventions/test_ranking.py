"""Detections that are not to be suppressed."""

import numpy as np

from zqc.detection.conventions.ranking import best_pairs, chosen, ranked
from zqc.detection.nms import Selection

BOXES = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_what_was_chosen_is_ranked_and_padding_left_out():
    """Best first, above the threshold, without labels below zero, no more than the limit."""
    scores, labels = np.array([0.2, 0.9, 0.4]), np.array([4, 0, -1])
    found = chosen(BOXES, scores, labels, Selection(score_threshold=0.1))
    assert (found.labels.tolist(), found.boxes.tolist()) == ([0, 4], BOXES[[1, 0]].tolist())
    assert len(chosen(BOXES, scores, labels, Selection(detections=1))) == 1
    assert len(chosen(BOXES, scores, labels, Selection(score_threshold=0.9))) == 0


def test_a_box_may_be_found_for_several_classes():
    """And boxes at one place stay: none is suppressed."""
    scores = np.array([[0.1, 0.6], [0.0, 0.0], [0.5, 0.7]])
    found = best_pairs(BOXES[[0, 0, 0]], scores, Selection())
    assert found.labels.tolist() == [1, 1, 0, 0]
    assert found.scores.tolist() == np.float32([0.7, 0.6, 0.5, 0.1]).tolist()


def test_scores_are_ranked():
    """Equal ones in their order; the threshold itself is not above it."""
    scores = np.array([0.5, 0.2, 0.7, 0.5, np.nan, 0.3])
    assert ranked(scores, Selection(score_threshold=0.3)).tolist() == [2, 0, 3]
    assert ranked(scores, Selection(score_threshold=0.1, detections=2)).tolist() == [2, 0]
