"""Labels are matched with what the model calls its classes, and compared as what they are."""

import json

import numpy as np
import pytest

from tests.zqc.commands.small_detectors import NAMES, bright_patches, write_coco, write_pictures
from zqc.commands.detector import Detector
from zqc.commands.labelled import labelled
from zqc.detection.comparison import Comparison
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolo_pose import YoloPose
from zqc.detection.conventions.yolo_segment import YoloSegment
from zqc.detection.detections import Detections
from zqc.errors import LabelError, OptionError
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat

PATCHES = bright_patches(3)


def detector(names=NAMES, classes=3):
    """A detector of the YOLO family."""
    return Detector(Yolo("output0", classes), names, Facts({}, 64, 64))


@pytest.fixture
def pictures(tmp_path):
    """Three pictures."""
    folder = write_pictures(tmp_path / "pictures", PATCHES)
    return open_images(folder, channels=3, height=64, width=64, input_format=InputFormat())


def test_boxes_have_the_classes_of_the_model(tmp_path, pictures):
    """The numbers are the model's, the names too, and pictures come in their order."""
    path = write_coco(tmp_path / "l.json", PATCHES, ((9, "bird"), (4, "cat"), (5, "dog")))
    found = labelled(path, pictures, detector())
    assert (found.kind, found.notes, found.names) == ("boxes", (), dict(enumerate(NAMES)))
    for truth, bright in zip(found.truth, PATCHES, strict=True):
        patches = np.flatnonzero(bright)
        assert truth.labels.tolist() == (patches % 3).tolist()
        assert truth.boxes[:, 0].tolist() == (32.0 * (patches % 4)).tolist()


def test_what_a_reader_should_know(tmp_path, pictures):
    """Classes that were matched by their order, and those without any label."""
    path = write_coco(tmp_path / "l.json", PATCHES, only=NAMES[:1])
    notes = labelled(path, pictures, detector()).notes
    assert notes == ("without a label, so not judged: dog, bird",)
    notes = labelled(path, pictures, detector(names=())).notes
    assert notes[0] == "classes are matched by their order, for want of names"


def test_without_a_convention_there_is_nothing_to_label(tmp_path, pictures):
    """The error says what is unknown, and that labels may be left out."""
    unknown = Detector.of(Facts({"y": (1, 7)}, 64, 64))
    with pytest.raises(OptionError, match=r"labels were given, but .*; or leave the labels out"):
        labelled(tmp_path / "none.json", pictures, unknown)


def test_labels_of_unknown_classes_are_refused(tmp_path, pictures):
    """A box of a class that the model does not know is no box of another class."""
    path = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = "horse"
    path.write_text(json.dumps(content))
    with pytest.raises(LabelError, match="the model knows no class horse"):
        labelled(path, pictures, detector())


def test_accuracy_of_both_and_of_their_difference(tmp_path, pictures):
    """A model that finds every box but those of one picture; the difference has an interval."""
    found = labelled(write_coco(tmp_path / "l.json", PATCHES), pictures, detector())
    every = tuple(Detections(t.boxes, np.full(len(t), 0.9), t.labels) for t in found.truth)
    some = (*every[:2], every[2].take([]))
    first, second, spread = found.accuracy(Comparison((), every, some))
    assert first.ap == pytest.approx(1)
    assert spread.difference == pytest.approx(second.ap - 1)
    assert spread.low <= spread.difference <= spread.high
    assert {one.name for one in second.classes} == set(NAMES)


@pytest.mark.parametrize("unlisted", [0, 1, 2])
def test_pictures_that_a_coco_file_does_not_list_are_not_counted(tmp_path, pictures, unlisted):
    """Boxes in them are no mistakes, and a note says how many there are."""
    path = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(path.read_text())
    kept = set(range(3 - unlisted))
    content["images"] = [one for one in content["images"] if one["id"] in kept]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    path.write_text(json.dumps(content))
    whole = labelled(write_coco(tmp_path / "whole.json", PATCHES), pictures, detector())
    every = tuple(Detections(t.boxes, np.full(len(t), 0.9), t.labels) for t in whole.truth)
    found = labelled(path, pictures, detector())
    assert found.listed == tuple(kept)
    said = {0: (), 1: ("1 picture is",), 2: ("2 pictures are",)}[unlisted]
    assert found.notes == tuple(f"{each} not in the labels: not counted" for each in said)
    first, second, _ = found.accuracy(Comparison((), every, every))
    assert (first.ap, second.ap) == (pytest.approx(1), pytest.approx(1))


def test_a_listed_picture_without_labels_counts(tmp_path, pictures):
    """It has no objects, so that each box in it is a mistake."""
    path = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(path.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 1]
    path.write_text(json.dumps(content))
    whole = labelled(write_coco(tmp_path / "whole.json", PATCHES), pictures, detector())
    every = tuple(Detections(t.boxes, np.full(len(t), 0.9), t.labels) for t in whole.truth)
    found = labelled(path, pictures, detector())
    assert (found.listed, found.notes) == ((0, 1, 2), ())
    assert found.accuracy(Comparison((), every, every))[0].ap < 0.95


@pytest.mark.parametrize(("annotated", "kind"), [(True, "keypoints"), (False, "boxes")])
def test_poses_are_compared_by_keypoints_where_the_labels_have_them(
    tmp_path, pictures, annotated, kind
):
    """Labels that are boxes alone are compared with the boxes."""
    path = write_coco(tmp_path / "l.json", PATCHES, only=NAMES[:1])
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 0, "name": "cat"}]
    for one in content["annotations"] if annotated else ():
        one["keypoints"] = [1, 2, 2] * 17
    path.write_text(json.dumps(content))
    pose = Detector(YoloPose("output0", 1, (17, 3)), NAMES[:1], Facts({}, 64, 64))
    assert labelled(path, pictures, pose).kind == kind


@pytest.mark.parametrize("outlined", [True, False])
def test_masks_are_compared_where_the_labels_have_outlines(tmp_path, pictures, outlined):
    """Labels that are boxes alone are compared with the boxes, and a note says so."""
    path = write_coco(tmp_path / "l.json", PATCHES)
    content = json.loads(path.read_text())
    for one in content["annotations"] if outlined else ():
        one["segmentation"] = [[0, 0, 9, 0, 9, 9]]
    path.write_text(json.dumps(content))
    segment = Detector(YoloSegment("output0", "output1", 3, 64, 64), NAMES, Facts({}, 64, 64))
    found = labelled(path, pictures, segment)
    assert found.kind == ("outlines" if outlined else "boxes")
    assert ["not masks" in note for note in found.notes] == ([] if outlined else [True])
    assert labelled(path, pictures, detector()).kind == "boxes"
