"""Labels in YOLO's text files, line by line."""

from pathlib import Path

import numpy as np
import pytest

from zqc.detection.labels.yolo_txt import label_file, read_yolo
from zqc.errors import LabelError

SIZE = (200, 100)


def read(folder, text, **more):
    """Read the labels of one picture, 200 x 100."""
    file = folder / "a.txt"
    file.write_text(text)
    return read_yolo(folder, {folder / "a.png": file}, size_of=lambda _: SIZE, **more)


def test_boxes_are_relative_to_the_picture(tmp_path):
    """Centre and size become corners in pixels; empty lines do not matter."""
    labels = read(tmp_path, "2 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.2 0.4\n")
    (truth,) = labels.of(["a.jpg"])
    assert truth.boxes == pytest.approx(np.array([[75, 25, 125, 75], [0, 0, 40, 40]]))
    assert truth.labels.tolist() == [2, 0]
    assert truth.outlines is None
    assert (labels.categories, labels.named, labels.ordered) == (("0", "1", "2"), False, True)


def test_names_make_the_classes_known(tmp_path):
    """All of them, whether used or not; a number beyond them is an error."""
    labels = read(tmp_path, "1 0.5 0.5 0.25 0.5", names=("cat", "dog", "cow"))
    assert (labels.categories, labels.named) == (("cat", "dog", "cow"), True)
    with pytest.raises(LabelError, match="class 1, but only 1"):
        read(tmp_path, "1 0.5 0.5 0.25 0.5", names=("cat",))


def test_an_outline_has_its_box_around(tmp_path):
    """Three points: the triangle covers half of its box."""
    (truth,) = read(tmp_path, "0 0.1 0.1 0.5 0.1 0.1 0.9").of(["a.png"])
    assert truth.boxes == pytest.approx(np.array([[20, 10, 100, 90]]))
    assert truth.areas == pytest.approx([80 * 80 / 2])
    assert truth.outlines[0][0] == pytest.approx(np.array([[20, 10], [100, 10], [20, 90]]))
    assert truth.corners is None


def test_eight_numbers_are_a_rotated_box(tmp_path):
    """Its corners in pixels, and the upright box around them."""
    (truth,) = read(tmp_path, "0 0.5 0 1 0.5 0.5 1 0 0.5").of(["a.png"])
    assert truth.corners == pytest.approx(np.array([[[100, 0], [200, 50], [100, 100], [0, 50]]]))
    assert truth.boxes == pytest.approx(np.array([[0, 0, 200, 100]]))
    assert truth.areas == pytest.approx([10000])


@pytest.mark.parametrize(
    ("each", "line", "seen"),
    [
        (3, "0 .5 .5 .2 .2 .5 .5 2 .25 .5 1 0 0 0", (2, 1, 0)),
        (2, "0 .5 .5 .2 .2 1 1 .5 .5 0 0", (2, 2, 0)),
    ],
)
def test_keypoints_follow_the_box(tmp_path, each, line, seen):
    """With or without visibility; a point at the origin is not labelled."""
    (truth,) = read(tmp_path, line, keypoints=(3, each)).of(["a.png"])
    assert truth.boxes == pytest.approx(np.array([[80, 40, 120, 60]]))
    assert tuple(truth.keypoints[0, :, 2]) == seen
    assert truth.keypoints[0, 1, 0] == pytest.approx(50 if each == 3 else 100)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "3 numbers"),
        ("0 0.5 0.5 0.2 0.2 0.9", "5 numbers"),
        ("0 0.5 0.5 0.2 0.2 0.9 0.9 2", "7 numbers"),
        ("cat 0.5 0.5 0.2 0.2", "not numbers"),
        ("0.5 0.5 0.5 0.2 0.2", "begins with 0.5"),
        ("-1 0.5 0.5 0.2 0.2", "begins with -1"),
        ("nan 0.5 0.5 0.2 0.2", "begins with nan"),
        ("inf 0.5 0.5 0.2 0.2", "begins with inf"),
        ("1e9 0.5 0.5 0.2 0.2", "begins with 1e"),
        ("0 0.5 0.5 nan 0.2", "outside of 0…1"),
        ("0 75 25 125 75", "outside of 0…1"),
        ("0 0.5 0.5 -0.005 0.2", "negative size"),
    ],
)
def test_wrong_lines_are_named(tmp_path, line, message):
    """File, line and what was expected."""
    with pytest.raises(LabelError, match=message) as error:
        read(tmp_path, f"0 0.5 0.5 0.2 0.2\n{line}\n")
    assert f"line 2 of {tmp_path / 'a.txt'}" in str(error.value)


def test_poses_of_another_number_of_points_are_refused(tmp_path):
    """The dataset says 3 of 3 numbers, the line has 2."""
    with pytest.raises(LabelError, match=r"kpt_shape \[3, 3\] makes it 13"):
        read(tmp_path, "0 .5 .5 .2 .2 .5 .5 2 .25 .5 1", keypoints=(3, 3))


def test_pictures_without_a_file_have_no_labels(tmp_path):
    """They are background, and their size is not asked for."""
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    files = {tmp_path / f"{name}.png": tmp_path / f"{name}.txt" for name in "ab"}
    labels = read_yolo(tmp_path, files, size_of={tmp_path / "a.png": SIZE}.__getitem__)
    assert [len(t) for t in labels.of(["a.png", "b.png"])] == [1, 0]
    twice = {tmp_path / f"{folder}/a.png": tmp_path / "a.txt" for folder in "xy"}
    with pytest.raises(LabelError, match="two pictures are called a"):
        read_yolo(tmp_path, twice, size_of=lambda _: SIZE)


def test_labels_are_beside_pictures_or_in_labels_for_images(tmp_path):
    """The last folder that is called images counts; beside comes first."""
    picture = Path("/data/images/set/images/val/a.jpg")
    assert label_file(picture) == Path("/data/images/set/labels/val/a.txt")
    assert label_file(Path("/data/pictures/a.jpg")) == Path("/data/pictures/a.txt")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.txt").touch()
    assert label_file(tmp_path / "images" / "a.png") == tmp_path / "images" / "a.txt"
