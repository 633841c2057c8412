"""Classes of labels are those of the model by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zqc.detection.test_average_precision import BOXES, found
from zqc.detection.average_precision import coco_accuracy
from zqc.detection.labels.classes import match_classes
from zqc.detection.labels.coco import read_coco
from zqc.detection.labels.labels import LabelledObject, Labels, Truth
from zqc.errors import LabelError

MODEL = ("person", "traffic light", "TV", "tv", "dog")


def labels(categories, used=(0,), **more):
    """Return labels with a box of each class that is used."""
    rows = [LabelledObject(box=(0, 0, 9, 9), label=label) for label in used]
    pictures = {"a.jpg": Truth.of_objects(rows)}
    return Labels(Path("l.json"), tuple(categories), pictures, **more)


@pytest.mark.parametrize(
    ("categories", "classes"),
    [
        (("dog", "person"), (4, 0)),
        (("Person", "Traffic_Light"), (0, 1)),
        (("tv", "TV"), (3, 2)),
        (("traffic-light", " DOG"), (1, 4)),
    ],
)
def test_names_decide(categories, classes):
    """Exactly first, then whatever their case and spaces are."""
    match = match_classes(labels(categories, (0, 1)), MODEL, 5)
    assert match.classes == classes
    assert match.names == dict(enumerate(MODEL))
    assert match.unjudged == tuple(sorted({0, 1, 2, 3, 4} - set(classes)))
    assert not match.by_order
    (truth,) = match.truth([labels(categories, (0, 1)).pictures["a.jpg"]])
    assert truth.labels.tolist() == list(classes)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (("dgo",), r"no class dgo \(is it dog\?\)"),
        (("zebra",), "knows person, traffic light, TV, tv, dog; the labels have zebra"),
        (("Tv",), "could be two"),
        (("dog", "Dog"), "dog and Dog of l.json are both the model's dog"),
    ],
)
def test_names_that_say_nothing_are_refused(categories, message):
    """Unknown, ambiguous and doubled ones, with both lists."""
    with pytest.raises(LabelError, match=message):
        match_classes(labels(categories, range(len(categories))), MODEL, 5)


def test_a_class_without_a_box_need_not_be_known():
    """Unknown ones, and a second one of the same name, give way."""
    match = match_classes(labels(("zebra", "Dog", "dog"), (2,)), MODEL, 5)
    assert match.classes == (-1, -1, 4)
    assert match.unjudged == (0, 1, 2, 3)


def test_without_names_the_order_decides_where_the_numbers_agree():
    """And it is said; otherwise the remedy is named."""
    match = match_classes(labels(("a", "b")), (), 2)
    assert (match.classes, match.by_order, match.unjudged) == ((0, 1), True, (1,))
    assert match.names == {0: "a", 1: "b"}
    assert match.notes == (
        "classes are matched by their order, for want of names",
        "without a label, so not judged: b",
    )
    assert match_classes(labels(("b", "a"), (0, 1)), ("a", "b"), 2).notes == ()
    for categories, classes in ((("a", "b"), 3), (("a", "b"), 1)):
        with pytest.raises(LabelError, match="--names"):
            match_classes(labels(categories), (), classes)
    with pytest.raises(LabelError, match="names its classes"):
        match_classes(labels(("a", "b"), ordered=False), (), 2)


def test_labels_without_names_go_by_their_numbers():
    """As many as the model has; its names are kept."""
    match = match_classes(labels(("0", "1"), named=False), ("cat", "dog"), 2)
    assert (match.classes, match.names, match.by_order) == ((0, 1), {0: "cat", 1: "dog"}, True)
    with pytest.raises(LabelError, match=r"classes\.txt"):
        match_classes(labels(("0",), named=False), ("cat", "dog"), 2)


def test_as_many_names_as_classes():
    """Names of something else are refused."""
    with pytest.raises(LabelError, match="3 classes, but 2 names"):
        match_classes(labels(("cat",)), ("cat", "dog"), 3)


@pytest.mark.parametrize("ids", [(0, 1, 2), (1, 2, 3), (90, 17, 44), (5, 1, 3)])
@pytest.mark.parametrize("kept", [("cat", "dog", "cow"), ("dog",), ("cow", "cat")])
def test_ids_in_a_file_change_nothing(tmp_path, ids, kept):
    """From 0, from 1, with gaps and shuffled, all classes or some: each has the same AP."""
    model = ("cat", "dog", "cow")
    number = dict(zip(model, ids, strict=True))
    annotations = [
        {"image_id": 1, "category_id": number[name], "bbox": [100 * k, 0, 50, 50]}
        for name in kept
        for k in range(1 + model.index(name))
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": number[name], "name": name.title()} for name in kept],
        "annotations": annotations,
    }
    (tmp_path / "l.json").write_text(json.dumps(content))
    read = read_coco(tmp_path / "l.json")
    match = match_classes(read, model, 3)
    every = found([[0, 0, 50, 50]] * 3, [0.9, 0.8, 0.7], [0, 1, 2])
    accuracy = coco_accuracy(match.truth(read.of(["a.jpg"])), [every], names=match.names)
    expected = {"cat": 1, "dog": 51 / 101, "cow": 34 / 101}
    got = {one.name: one.ap for one in accuracy.classes}
    assert got == pytest.approx({name: expected[name] for name in kept})
    assert set(match.unjudged) == {model.index(name) for name in set(model) - set(kept)}


@given(st.permutations(range(4)), st.integers(1, 4))
def test_numbers_of_the_classes_change_nothing(order, count):
    """Shuffled classes, and any subset of them, give each class the same AP."""
    names = ("a", "b", "c", "d")
    found_boxes = found([BOXES[0]] * 4 + [BOXES[1]], [0.9, 0.8, 0.7, 0.6, 0.5], [0, 1, 2, 3, 1])

    def accuracy(categories):
        rows = [
            LabelledObject(box=tuple(BOXES[k]), label=label)
            for label, name in enumerate(categories)
            for k in range(1 + names.index(name) % 2)
        ]
        read = Labels(Path("l"), tuple(categories), {"a": Truth.of_objects(rows)})
        match = match_classes(read, names, 4)
        truth = match.truth(read.of(["a"]))
        return coco_accuracy(truth, [found_boxes], names=match.names)

    whole = {one.name: one for one in accuracy(names).classes}
    part = accuracy([names[index] for index in order[:count]])
    assert {one.name for one in part.classes} == {names[index] for index in order[:count]}
    assert all(whole[one.name] == one for one in part.classes)
    assert part.ap == pytest.approx(np.mean([one.ap for one in part.classes]))
