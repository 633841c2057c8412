"""Heads with anchors: known numbers, and the two ways of writing boxes."""

import numpy as np
import pytest

from zqc.detection.conventions.anchor_heads import AnchorHeads, Head, classes_of, grid_of

TINY = AnchorHeads(
    (
        Head("coarse", 32, ((81, 82), (135, 169), (344, 319))),
        Head("fine", 16, ((23, 27), (37, 58), (81, 82))),
    ),
    2,
)


def logit(p: float) -> float:
    """Return the inverse of the sigmoid."""
    return float(np.log(p / (1 - p)))


@pytest.mark.parametrize(
    ("head", "row", "column", "anchor", "width", "height"),
    [("coarse", 4, 9, 1, 135, 169), ("fine", 20, 3, 0, 23, 27), ("fine", 1, 2, 2, 81, 82)],
)
def test_zeros_are_the_middle_of_the_cell_and_the_size_of_the_anchor(
    head, row, column, anchor, width, height
):
    """Raw zeros mean the middle of the cell; log 2 doubles the height."""
    outputs = {
        name: np.full((1, 21, size, size), -20, np.float32)
        for name, size in (("coarse", 13), ("fine", 26))
    }
    cell = np.array([0, 0, 0, np.log(2), logit(0.9), -20, logit(0.8)], np.float32)
    outputs[head][0, anchor * 7 : anchor * 7 + 7, row, column] = cell
    [found] = TINY.decode(outputs)
    stride = 32 if head == "coarse" else 16
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    np.testing.assert_allclose(
        found.boxes, [[x - width / 2, y - height, x + width / 2, y + height]], rtol=1e-5
    )
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.72], abs=1e-6)


def test_squares_reach_beyond_the_cell():
    """As YOLOv5 writes it, zeros mean the same, and a large x the middle of the next cell."""
    values = np.array([20, 0, 20, 0, 20, 20], np.float32)
    heads = AnchorHeads((Head("o", 8, ((10, 12),)),), 1, "yolov5", "square")
    [found] = heads.decode({"o": values.reshape(1, 1, 1, 1, 6)})
    x, y, width, height = 12, 4, 40, 12
    expected = [[x - width / 2, y - height / 2, x + width / 2, y + height / 2]]
    np.testing.assert_allclose(found.boxes, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [
        ((1, 255, 13, 13), 80),
        ((1, 3, 13, 13, 85), 80),
        ((1, 254, 13, 13), None),
        ((1, 15, 13, 13), None),
        ((1, 2, 13, 13, 85), None),
        ((1, 255, 13), None),
    ],
)
def test_the_number_of_classes(shape, classes):
    """Either layout shows it, and nothing else has one."""
    assert classes_of(shape, 3) == classes
    if classes is not None:
        assert grid_of(shape) == (13, 13)
