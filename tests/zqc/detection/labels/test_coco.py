"""COCO label files, good and damaged."""

import json

import numpy as np
import pytest

from zqc.detection.labels.coco import coco_text, read_coco
from zqc.detection.losses.assignment import Objects
from zqc.errors import LabelError

LABELS = {
    "images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "categories": [{"id": 44, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 44, "bbox": [10, 20, 30, 40]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
}
FIRST = LABELS["annotations"][0]


def write(path, content):
    """Write labels as JSON."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_labels_are_read_by_base_name_and_sorted_category(tmp_path):
    """The lowest category id is class 0; folders of file_name do not matter; x,y,w,h to corners."""
    labels = read_coco(write(tmp_path / "l.json", LABELS))
    assert labels.categories == ("cat", "dog")
    [a, b, unlisted] = labels.of(["a.jpg", "b.jpg", "c.jpg"])
    assert a.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert a.labels.tolist() == [1, 0]
    assert a.crowd.tolist() == [False, True]
    assert a.areas.tolist() == [1200, 12]
    assert a.keypoints is None
    assert a.outlines is None
    assert len(b) == len(unlisted) == 0
    assert labels.named
    assert labels.ordered
    with pytest.raises(LabelError, match=r"labels nothing.*z\.jpg"):
        labels.of(["z.jpg"])


def test_area_outline_and_keypoints_are_kept(tmp_path):
    """Polygons and points as they stand; what has run lengths is covered by its box."""
    annotation = {
        **FIRST,
        "area": 5.5,
        "segmentation": [[10, 20, 40, 20, 40, 60]],
        "keypoints": [1, 2, 2, 0, 0, 0],
    }
    crowd = {**LABELS["annotations"][1], "segmentation": {"counts": [3], "size": [1, 3]}}
    content = {**LABELS, "annotations": [annotation, crowd]}
    a = read_coco(write(tmp_path / "l.json", content)).pictures["a.jpg"]
    assert a.areas.tolist() == [5.5, 12]
    assert a.outlines[0][0].tolist() == [[10, 20], [40, 20], [40, 60]]
    assert a.outlines[1][0].tolist() == [[1, 2], [4, 2], [4, 6], [1, 6]]
    assert a.keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]], np.zeros((2, 3)).tolist()]


def test_categories_without_names_have_numbers(tmp_path):
    """Then they say nothing of what the classes are called."""
    content = {**LABELS, "categories": [{"id": 3}, {"id": 44}]}
    labels = read_coco(write(tmp_path / "l.json", content))
    assert labels.categories == ("3", "44")
    assert not labels.named


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[" * 100_000, "cannot read"),
        ("[1]", "not a COCO label file"),
        ({"images": [], "annotations": []}, "categories"),
        ({**LABELS, "images": [{"id": 7}]}, "file_name"),
        ({**LABELS, "images": LABELS["images"][1:]}, "image 7"),
        ({**LABELS, "categories": LABELS["categories"][:1]}, "category 3"),
        ({**LABELS, "categories": LABELS["categories"][:1] * 2}, "categories with the same id"),
        ({**LABELS, "images": [{"id": i, "file_name": f"{i}/a.jpg"} for i in (7, 9)]}, "same id"),
        ({**LABELS, "annotations": [{**FIRST, "bbox": [1, 2]}]}, "annotation 1"),
        ({**LABELS, "annotations": [{**FIRST, "bbox": [1, 2, -3, 4]}]}, "annotation 1"),
        ('{"images": [], "categories": [{"id": 1e999}], "annotations": []}', "the id Infinity"),
        ({**LABELS, "annotations": [{**FIRST, "area": -1}]}, "the area -1"),
        ({**LABELS, "annotations": [{**FIRST, "segmentation": [[1, 2, 3]]}]}, "polygon"),
        ({**LABELS, "annotations": [{**FIRST, "keypoints": [1, 2]}]}, "keypoints"),
        ({**LABELS, "annotations": [1]}, "no list of objects called 'annotations'"),
        ({**LABELS, "annotations": [{**FIRST, "bbox": "1234"}]}, 'has the bbox "1234"'),
        ({**LABELS, "annotations": [{**FIRST, "iscrowd": "no"}]}, 'the iscrowd "no"'),
        ({**LABELS, "annotations": [{"id": 1, "image_id": 7}]}, "has no 'category_id'"),
        ("[" * 100_000, "nested without end"),
        ('{"images": ' + "9" * 9000 + "}", "thousands of digits"),
        ('{"images": ]', "not JSON: expecting value at line 1, column 12"),
    ],
)
def test_bad_label_files_are_named(tmp_path, content, message):
    """Each error names the file and what is wrong with it."""
    path = write(tmp_path / "l.json", content)
    with pytest.raises(LabelError, match=message) as error:
        read_coco(path)
    assert "l.json" in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (field, value)
            for field in ("image_id", "category_id")
            for value in ("x", 1.5, None, [])
        ),
        *(("bbox", value) for value in ("x", None, 3, [1, 2, 3, "x"], [[1, 2, 3, 4]], {})),
        *(("area", value) for value in ("x", [], True, -1)),
        *(("iscrowd", value) for value in ("x", 2, [])),
        *(("segmentation", value) for value in (["x"], [3], [[1, 2, 3, 4, 5, "x"]], [[1, 2]])),
        *(("keypoints", value) for value in ("x", {"a": 1}, [1, 2, "x"], [[1, 2, 2]])),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path, field, value):
    """By the annotation, or its place where it has no id, and by the field."""
    other = {**FIRST, field: value}
    anonymous = {name: value for name, value in other.items() if name != "id"}
    for annotation, name in ((other, "annotation 1 of"), (anonymous, r"annotations\[1\] of")):
        content = {**LABELS, "annotations": [LABELS["annotations"][1], annotation]}
        with pytest.raises(LabelError, match=rf"^{name} .*l\.json .*\b{field}\b"):
            read_coco(write(tmp_path / "l.json", content))


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("categories", {"id": "x"}, r'categories\[0\] of .* has the id "x"'),
        ("categories", {}, r"categories\[0\] of .* has no 'id'"),
        ("images", {"id": 1.5, "file_name": "a"}, r"images\[0\] of .* has the id 1\.5"),
        ("images", {"id": 7}, "image 7 of .* has no 'file_name'"),
    ],
)
def test_other_entries_are_named_likewise(tmp_path, key, entry, message):
    """Categories and images by id or place, with the field."""
    with pytest.raises(LabelError, match=message):
        read_coco(write(tmp_path / "l.json", {**LABELS, key: [entry]}))


def test_ids_may_be_text(tmp_path):
    """Some tools write them as digits in quotes, or with a point behind."""
    content = {**LABELS, "annotations": [{**FIRST, "image_id": "7", "category_id": 44.0}]}
    assert len(read_coco(write(tmp_path / "l.json", content)).pictures["a.jpg"]) == 1


def test_a_missing_label_file_is_named(tmp_path):
    """No traceback of open()."""
    with pytest.raises(LabelError, match=r"none\.json"):
        read_coco(tmp_path / "none.json")


@pytest.mark.parametrize("names", [("cat", "dog"), ()])
def test_labels_that_are_written_are_read_again(tmp_path, names):
    """Boxes, classes and names of every picture, those of one without boxes too (1e-4 pixels)."""
    boxes = np.array([[1, 2, 30.5, 40], [3, 4.25, 50, 60]], np.float32)
    objects = [Objects(boxes, np.array([1, 0])), Objects(boxes[:0], np.zeros(0, np.int64))]
    text = coco_text(objects, ("0.png", "1.png"), names, 2, (64, 96))
    labels = read_coco(write(tmp_path / "l.json", text))
    assert labels.named == bool(names)
    assert not names or labels.categories == names
    first, second = labels.of(("0.png", "1.png"))
    np.testing.assert_allclose(first.boxes, boxes, atol=1e-4)
    assert (first.labels.tolist(), len(second)) == ([1, 0], 0)
