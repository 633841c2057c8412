"""Labelled boxes, picture by picture."""

from pathlib import Path

import numpy as np
import pytest

from zqc.detection.labels.labels import LabelledObject, Labels, Truth, box_around
from zqc.errors import LabelError


def one(**more):
    """Return an object."""
    return LabelledObject(box=(1, 2, 4, 6), label=1, **more)


def test_what_only_some_objects_have_is_left_out():
    """Corners and keypoints of one of two are no arrays; the other's outline is its box."""
    corners = np.zeros((4, 2))
    truth = Truth.of_objects(
        [one(corners=corners, outline=(corners,), keypoints=np.zeros((3, 3))), one()]
    )
    assert truth.corners is None
    assert truth.keypoints is None
    assert truth.outlines[1][0].tolist() == [[1, 2], [4, 2], [4, 6], [1, 6]]
    assert truth.areas.tolist() == [12, 12]
    assert Truth.of_objects([one(corners=corners)]).corners.shape == (1, 4, 2)


def test_no_objects_are_empty_arrays():
    """Of the right shapes."""
    truth = Truth.of_objects([])
    assert (truth.boxes.shape, truth.labels.shape, len(truth)) == ((0, 4), (0,), 0)


def test_relabelled_moves_the_classes():
    """Class 1 becomes class 7, and the boxes stay."""
    truth = Truth.of_objects([one()]).relabelled([5, 7])
    assert truth.labels.tolist() == [7]
    assert truth.boxes.tolist() == [[1, 2, 4, 6]]


def test_pictures_go_by_their_stems_where_labels_stand_beside_them():
    """``a.txt`` labels ``a.png``; two pictures of one stem cannot be told apart."""
    labels = Labels(Path("l"), ("x", "y"), {"a": Truth.of_objects([one()])}, by_stem=True)
    assert [len(t) for t in labels.of(["a.png", "b.png"])] == [1, 0]
    assert labels.used == {1}
    with pytest.raises(LabelError, match="two pictures are called a"):
        labels.of(["a.png", "a.jpg"])
    with pytest.raises(LabelError, match="labels nothing"):
        labels.of([])


def test_a_file_that_lists_its_pictures_says_nothing_of_others():
    """COCO lists them; a picture without a file beside it has no objects, and is judged."""
    known = {"a.png": Truth.of_objects([one()]), "c.png": Truth.of_objects([])}
    names = ["a.png", "b.png", "c.png"]
    assert Labels(Path("l"), ("x", "y"), known).listed(names) == [0, 2]
    beside = {"a": known["a.png"]}
    assert Labels(Path("l"), ("x", "y"), beside, by_stem=True).listed(names) == [0, 1, 2]


def test_the_box_around_points():
    """Least and greatest x and y."""
    assert box_around(np.array([[3, 1], [0, 5], [2, 2]])) == (0, 1, 3, 5)
