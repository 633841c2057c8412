"""Labels of four formats, matched to the model's classes by name."""

import json

import pytest

from tests.zqc.commands.small_detectors import (
    NAMES,
    bright_patches,
    write_coco,
    write_patches,
    write_pictures,
    write_yolo,
)
from zqc.commands.check import check
from zqc.errors import LabelError, OptionError

PATCHES = bright_patches()


@pytest.fixture
def model(tmp_path):
    """A detector of three classes, some of whose boxes are a little beside the labels."""
    return write_patches(tmp_path / "m.onnx")


@pytest.fixture
def pictures(tmp_path):
    """Pictures that both labels and models know."""
    return write_pictures(tmp_path / "pictures", PATCHES)


def by_class(accuracy):
    """AP by the name of the class."""
    return {one.name: one.ap for one in accuracy.classes}


ORDERS = {
    "in order": tuple(enumerate(NAMES)),
    "from 1": tuple(enumerate(NAMES, 1)),
    "shuffled": ((7, "bird"), (3, "cat"), (90, "dog")),
    "with another class": ((0, "horse"), (1, "dog"), (2, "bird"), (3, "cat")),
    "spelled otherwise": ((1, "Cat"), (2, "DOG"), (3, " bird")),
}


@pytest.mark.parametrize("categories", ORDERS.values(), ids=ORDERS)
def test_ids_of_classes_do_not_matter(tmp_path, model, pictures, categories):
    """Labels with other ids give the same AP for each class as those in the model's order."""
    wanted = write_coco(tmp_path / "plain.json", PATCHES)
    expected = check(model, model, images=pictures, labels=wanted).accuracy_quantized
    assert 0.5 < expected.ap < 0.95  # so that another match of classes would show
    path = write_coco(tmp_path / "l.json", PATCHES, ORDERS["in order"])
    content = json.loads(path.read_text())
    ids = {
        NAMES.index(name.strip().lower()): number
        for number, name in categories
        if name.strip().lower() in NAMES
    }
    for one in content["annotations"]:
        one["category_id"] = ids[one["category_id"]]
    content["categories"] = [{"id": number, "name": name} for number, name in categories]
    path.write_text(json.dumps(content))
    found = check(model, model, images=pictures, labels=path)
    assert found.accuracy_quantized == expected
    assert found.verdict.word == "good"


def test_labels_of_some_classes_judge_these(tmp_path, model, pictures):
    """With 2 of 3 classes labelled, their AP is the same, and a note names the one left out."""
    whole = write_coco(tmp_path / "all.json", PATCHES)
    some = write_coco(tmp_path / "two.json", PATCHES, ((1, "bird"), (2, "dog")), only=NAMES[1:])
    expected = by_class(check(model, model, images=pictures, labels=whole).accuracy_float)
    result = check(model, model, images=pictures, labels=some)
    del expected["cat"]
    assert by_class(result.accuracy_float) == expected
    assert result.accuracy_float.ap == pytest.approx(sum(expected.values()) / 2)
    assert result.notes == ("without a label, so not judged: cat",)


def test_a_dataset_brings_its_pictures(tmp_path, model):
    """A YAML file as labels needs no pictures beside it, and gives the AP of the COCO file."""
    data = write_yolo(tmp_path / "data", PATCHES)
    folder = tmp_path / "data" / "images" / "val"
    labels = write_coco(tmp_path / "l.json", PATCHES)
    expected = check(model, model, images=folder, labels=labels)
    for more in ({}, {"images": folder}):
        result = check(model, model, labels=data, **more)
        assert result.pictures == f"{len(PATCHES)} pictures from {folder}"
        assert result.accuracy_float.ap == pytest.approx(expected.accuracy_float.ap, abs=1e-9)
        assert not result.made_up
    texts = check(model, model, images=folder, labels=tmp_path / "data" / "labels" / "val")
    assert texts.accuracy_float.ap == pytest.approx(expected.accuracy_float.ap, abs=1e-9)


def test_pictures_in_several_folders_are_asked_for(tmp_path, model):
    """One folder is compared on: a dataset with two says so."""
    data = write_yolo(tmp_path / "data", PATCHES)
    write_pictures(tmp_path / "data" / "images" / "more", PATCHES[:1])
    data.write_text(data.read_text().replace("val: images/val", "val: [images/val, images/more]"))
    with pytest.raises(OptionError, match="in several folders; give one as --images"):
        check(model, model, labels=data)


def test_pictures_that_a_dataset_does_not_name_do_not_count(tmp_path, model):
    """A list of some pictures of a folder is no folder: what others show would all be wrong."""
    data = write_yolo(tmp_path / "data", PATCHES)
    folder = tmp_path / "data" / "images" / "val"
    (tmp_path / "data" / "val.txt").write_text("images/val/0.png\nimages/val/1.png\n")
    data.write_text(data.read_text().replace("val: images/val", "val: val.txt"))
    with pytest.raises(OptionError, match=r"names 2 of the 6 pictures in .*give it as --images"):
        check(model, model, labels=data)
    for index in range(2, len(PATCHES)):
        (folder / f"{index}.png").unlink()
    assert check(model, model, labels=data).images == 2


def test_labels_without_pictures_are_refused(tmp_path, model):
    """COCO labels do not say where the pictures are; synthesised ones have none."""
    labels = write_coco(tmp_path / "l.json", PATCHES)
    with pytest.raises(OptionError, match="labels need the pictures that they belong to"):
        check(model, model, labels=labels)


def test_labels_of_other_pictures_are_refused(tmp_path, model):
    """Names of pictures that do not occur are no accuracy of 0, but an error with both names."""
    other = write_pictures(tmp_path / "other", PATCHES[:2])
    for file in list(other.iterdir()):
        file.rename(file.with_name(f"x{file.name}"))
    labels = write_coco(tmp_path / "l.json", PATCHES)
    with pytest.raises(LabelError, match=r"l\.json labels nothing in these 2 .*x0\.png"):
        check(model, model, images=other, labels=labels)


def test_labels_that_fit_no_object_are_suspected(tmp_path, model, pictures):
    """Labels in other pixels than the pictures', so that nothing is found: no verdict."""
    labels = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(labels.read_text())
    for one in content["annotations"]:
        one["bbox"] = [number / 3 for number in one["bbox"]]
    labels.write_text(json.dumps(content))
    result = check(model, model, images=pictures, labels=labels)
    assert result.accuracy_float.ap < 0.05
    assert result.verdict.word == "not judged"
    assert "see that the labels belong to these pictures" in result.verdict.reason


def test_names_of_the_model_may_be_given(tmp_path, pictures):
    """A model without names takes them from a list or a file; without any, order decides."""
    labels = write_coco(tmp_path / "l.json", PATCHES, ((1, "bird"), (2, "cat"), (3, "dog")))
    named = write_patches(tmp_path / "named.onnx")
    expected = check(named, named, images=pictures, labels=labels).accuracy_float
    bare = write_patches(tmp_path / "bare.onnx", names=())
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\n")
    for names in ("cat,dog,bird", NAMES, str(tmp_path / "names.txt")):
        result = check(bare, bare, images=pictures, labels=labels, names=names)
        assert result.accuracy_float == expected
        assert (result.classes, result.notes) == (NAMES, ())
    by_order = check(bare, bare, images=pictures, labels=labels)
    assert by_order.accuracy_float.ap < expected.ap / 2
    assert by_order.notes == ("classes are matched by their order, for want of names",)


def test_labels_decide_and_the_difference_has_an_interval(tmp_path, model, pictures):
    """Boxes that move cost mAP: the difference lies in its interval, and max_drop is in points."""
    labels = write_coco(tmp_path / "l.json", PATCHES)
    moved = write_patches(tmp_path / "q.onnx", shift=4.0)
    result = check(model, moved, images=pictures, labels=labels, max_drop=90)
    lost = result.accuracy_float.ap - result.accuracy_quantized.ap
    assert lost > 0.1
    assert result.difference.difference == pytest.approx(-lost)
    assert result.difference.low <= -lost <= result.difference.high < 0
    assert result.limits[0].value == pytest.approx(100 * lost)
    assert result.passed
    assert result.verdict.word in ("usable with care", "broken")
    for limit, passed in ((100 * lost + 0.01, True), (100 * lost - 0.01, False)):
        again = check(model, moved, images=pictures, labels=labels, max_drop=limit)
        assert again.passed is passed


def test_labels_with_other_names_judge_nothing(tmp_path, pictures):
    """The model finds the boxes, but as other classes: the labels are to be looked at."""
    model = write_patches(tmp_path / "m.onnx")
    shuffled = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(shuffled.read_text())
    names = [category["name"] for category in content["categories"]]
    for category, name in zip(content["categories"], names[1:] + names[:1], strict=True):
        category["name"] = name
    shuffled.write_text(json.dumps(content))
    verdict = check(model, model, images=pictures, labels=shuffled).verdict
    assert verdict.word == "not judged"
    assert "--names" in verdict.reason
