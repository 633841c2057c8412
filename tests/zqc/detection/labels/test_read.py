"""Formats of labels are told apart."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.zqc.detection.labels.test_voc import text as voc_text
from zqc.detection.labels.read import read_labels
from zqc.errors import ImageError, LabelError

LINE = "1 0.5 0.5 0.5 0.5"
BOX = [[25, 10, 75, 30]]


@pytest.fixture
def data(tmp_path):
    """A folder of one picture, 100 x 40, and an empty one for labels."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    Image.new("RGB", (100, 40)).save(tmp_path / "images" / "a.png")
    return tmp_path


def boxes(labels):
    """The boxes of the picture."""
    return labels.of(["a.png"])[0].boxes


def test_every_format_gives_the_same_box(data):
    """JSON, a dataset's YAML, folders and files of text and XML."""
    annotation = {"image_id": 1, "category_id": 1, "bbox": [25, 10, 50, 20]}
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [annotation],
    }
    (data / "l.json").write_text(json.dumps(content))
    (data / "d.yml").write_text("val: images\nnames: [cat, dog]")
    (data / "labels/a.txt").write_text(LINE)
    (data / "xml").mkdir()
    (data / "xml/a.xml").write_text(voc_text(box=(26, 11, 75, 30)))
    for place in ("l.json", "d.yml", "labels", "labels/a.txt", "xml", "xml/a.xml", "images"):
        assert boxes(read_labels(data / place)) == pytest.approx(np.array(BOX)), place
    picture = [data / "images/a.png"]
    assert boxes(read_labels(data / "labels", picture)) == pytest.approx(np.array(BOX))


def test_names_beside_text_files(data):
    """``classes.txt`` is no label; in the folder, above it, or given."""
    (data / "labels/a.txt").write_text(LINE)
    assert not read_labels(data / "labels").named
    assert read_labels(data / "labels", names=("x", "y")).categories == ("x", "y")
    (data / "classes.txt").write_text("cat\ndog")
    assert read_labels(data / "labels", names=("x", "y")).categories == ("cat", "dog")
    (data / "labels/classes.txt").write_text("dog\ncat")
    assert read_labels(data / "labels").categories == ("dog", "cat")


def test_sizes_can_be_given(data):
    """Then no picture need be there."""
    (data / "labels/a.txt").write_text(LINE)
    labels = read_labels(data / "labels", [data / "none/a.png"], size_of=lambda _: (200, 80))
    assert boxes(labels) == pytest.approx(np.array([[50, 20, 150, 60]]))
    with pytest.raises(ImageError, match=r"none.a\.png does not exist"):
        read_labels(data / "labels", [data / "none/a.png"])


@pytest.mark.parametrize(
    "place", ["none", "none.txt", "none.json", "none.xml", "none.yaml", "a.csv"]
)
def test_what_is_missing_or_unknown_is_named(data, place):
    """And what could be given instead."""
    with pytest.raises(LabelError, match=place):
        read_labels(data / place)


def test_folders_without_one_kind_of_labels_are_refused(data):
    """Nothing, both kinds, and labels of other pictures."""
    with pytest.raises(LabelError, match="no labels in"):
        read_labels(data / "labels")
    with pytest.raises(LabelError, match="no labels in"):
        read_labels(data / "images")
    (data / "labels/b.txt").write_text(LINE)
    with pytest.raises(LabelError, match="a picture called b"):
        read_labels(data / "labels")
    (data / "labels/a.xml").write_text(voc_text())
    with pytest.raises(LabelError, match=r"both \.txt and \.xml"):
        read_labels(data / "labels")
