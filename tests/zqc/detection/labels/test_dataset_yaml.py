"""Datasets as Ultralytics describes them."""

import numpy as np
import pytest

from zqc.detection.labels.dataset_yaml import read_dataset
from zqc.errors import LabelError

YAML = "path: data\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n"


@pytest.fixture
def dataset(tmp_path):
    """A dataset of two pictures to validate on, one of them labelled, and one to train on."""
    for split, names in (("val", ("a.png", "b.JPG")), ("train", ("c.png",))):
        (tmp_path / "data/images" / split).mkdir(parents=True)
        for name in names:
            (tmp_path / "data/images" / split / name).touch()
    (tmp_path / "data/labels/val").mkdir(parents=True)
    (tmp_path / "data/labels/val/a.txt").write_text("1 0.5 0.5 0.5 0.5")
    path = tmp_path / "d.yaml"
    path.write_text(YAML)
    return path


def test_pictures_and_labels_are_found(dataset):
    """``val`` by default, below ``path``, labels in labels for images."""
    read = read_dataset(dataset)
    assert (read.split, read.names, read.keypoints) == ("val", ("cat", "dog"), None)
    assert read.folder == dataset.parent / "data/images/val"
    assert [picture.name for picture in read.pictures] == ["a.png", "b.JPG"]
    labels = read.labels(lambda _: (100, 10))
    a, b = labels.of([picture.name for picture in read.pictures])
    assert a.boxes == pytest.approx(np.array([[25, 2.5, 75, 7.5]]))
    assert (a.labels.tolist(), len(b)) == ([1], 0)


def test_the_split_can_be_chosen(dataset):
    """That to train on has a picture, but no labels."""
    train = read_dataset(dataset, "train")
    assert [picture.name for picture in train.pictures] == ["c.png"]
    with pytest.raises(LabelError, match=r"no picture of .* has labels.*c\.png"):
        train.labels(lambda _: (1, 1))
    with pytest.raises(LabelError, match="has no test"):
        read_dataset(dataset, "test")


def test_lists_of_pictures_and_of_folders(dataset):
    """A text file names pictures relative to itself; a list has several folders."""
    (dataset.parent / "data/val.txt").write_text("./images/val/a.png\n\nimages/train/c.png\n")
    dataset.write_text(YAML.replace("val: images/val", "val: val.txt"))
    pictures = read_dataset(dataset).pictures
    assert {picture.name for picture in pictures} == {"a.png", "c.png"}
    dataset.write_text(YAML.replace("val: images/val", "val: [images/val, images/train]"))
    read = read_dataset(dataset)
    assert len(read.pictures) == 3
    assert read.folder is None


def test_poses_say_how_many_keypoints(dataset):
    """``kpt_shape``, or an error if it is something else."""
    dataset.write_text(YAML + "kpt_shape: [17, 3]\n")
    assert read_dataset(dataset).keypoints == (17, 3)
    dataset.write_text(YAML + "kpt_shape: 17\n")
    with pytest.raises(LabelError, match="kpt_shape 17"):
        read_dataset(dataset)


def test_names_are_given_where_the_file_has_none(dataset):
    """The file's own come first."""
    assert read_dataset(dataset, names=("x", "y")).names == ("cat", "dog")
    dataset.write_text("path: data\nval: images/val\n")
    assert read_dataset(dataset, names=("x", "y")).names == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat]", "has no val or test or train"),
        ("val: images/none", "images/none, but it is not there"),
        ("val: data/labels", "has no pictures"),
    ],
)
def test_what_is_missing_is_named(dataset, text, message):
    """And where it was looked for."""
    dataset.write_text(text)
    with pytest.raises(LabelError, match=message):
        read_dataset(dataset)
