"""What the outputs of the networks mean."""

import numpy as np
import pytest

from tools.zoo import decoding

SIZE = 100
BOX, CORNERS = [0.5, 0.4, 0.2, 0.4], [40, 20, 60, 60]


def only(found):
    """The box, the score and the label of the best detection."""
    return [*found.boxes[0].tolist(), float(found.scores[0]), int(found.labels[0])]


def queries(*rows):
    """The outputs of a network with one query for each row of logits."""
    return {
        "logits": np.array([rows], np.float32),
        "pred_boxes": np.array([[BOX] * len(rows)], np.float32),
    }


def test_each_class_of_a_query_may_be_found():
    """Without a background, one query is as many candidates as there are classes."""
    found = decoding.sigmoid_queries(queries([0.0, 2.0]), SIZE)
    assert found.labels.tolist() == [1, 0]
    assert only(found) == pytest.approx([*CORNERS, 1 / (1 + np.exp(-2)), 1])


def test_the_background_is_no_detection():
    """It takes its share of the softmax, and is left out."""
    found = decoding.softmax_queries(queries([0.0, 1.0, 3.0]), SIZE)
    share = np.exp(1) / (1 + np.exp(1) + np.exp(3))
    assert found.labels.tolist() == [1, 0]
    assert only(found) == pytest.approx([*CORNERS, share, 1])


def test_what_the_graph_has_chosen_is_sorted():
    """Torchvision's outputs and YOLOv10's rows, the best first."""
    boxes = np.array([[0, 0, 1, 1], CORNERS], np.float32)
    scores, labels = np.array([0.2, 0.9], np.float32), np.array([3, 5])
    found = decoding.chosen({"boxes": boxes, "scores": scores, "labels": labels}, SIZE)
    assert only(found) == pytest.approx([*CORNERS, 0.9, 5])
    rows = np.concatenate([boxes, scores[:, None], labels[:, None]], axis=1)[None]
    assert only(decoding.rows({"output0": rows}, SIZE)) == pytest.approx([*CORNERS, 0.9, 5])


def test_boxes_and_scores_of_all_cells():
    """YOLOv8's columns, and boxes with scores in either order, after suppression."""
    scores = np.array([[0.1, 0.8], [0.05, 0.6], [0.0, 0.0]], np.float32)
    centred = np.array([[50, 40, 20, 40]] * 3, np.float32)
    columns = np.concatenate([centred, scores], axis=1).T[None]
    found = [decoding.columns({"output0": columns}, SIZE)]
    boxes = np.array([[CORNERS] * 3], np.float32)
    for given in (scores, scores.T):
        found.append(decoding.corners({"boxes": boxes, "scores": given[None]}, SIZE))
    for each in found:
        assert each.labels.tolist() == [1, 0]
        assert only(each) == pytest.approx([*CORNERS, 0.8, 1])
