"""Average precision on cases with a closed form, and COCO label files."""

import json

import numpy as np
import pytest

from zqc.detection.average_precision import (
    Truth,
    agreement,
    coco_accuracy,
    read_labels,
)
from zqc.detection.detections import Detections
from zqc.errors import LabelError

BOXES = np.array([[0, 0, 40, 40], [100, 100, 160, 180]], float)
LABELS = {
    "images": [{"id": 7, "file_name": "train/a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "categories": [{"id": 44, "name": "dog"}, {"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 44, "bbox": [10, 20, 30, 40]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
}


def truth(boxes=BOXES, labels=(0, 0), crowd=(False, False)):
    """Return labelled boxes."""
    return Truth(np.asarray(boxes, float), np.array(labels, np.int64), np.array(crowd, bool))


def found(boxes, scores, labels=None):
    """Return detections, of class 0 by default."""
    labels = [0] * len(scores) if labels is None else labels
    return Detections(
        np.asarray(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels, np.int64)
    )


def test_perfect_detections_have_ap_one():
    """Every box found exactly, over two pictures and two classes."""
    labelled = [truth(), truth(labels=(0, 1))]
    exact = [found(BOXES, [0.9, 0.8]), found(BOXES, [0.4, 0.7], [0, 1])]
    accuracy = coco_accuracy(labelled, exact)
    assert (accuracy.ap, accuracy.ap50) == pytest.approx((1, 1))


def test_half_of_the_boxes_give_ap_of_51_recalls_in_101():
    """One box of two: precision is 1 at the recalls 0.00…0.50 and 0 above."""
    accuracy = coco_accuracy([truth()], [found(BOXES[:1], [0.9])])
    assert (accuracy.ap, accuracy.ap50) == pytest.approx((51 / 101, 51 / 101))


def test_a_better_scored_mistake_halves_the_precision():
    """A false detection before the right one: precision 1/2 at every recall."""
    wrong_first = found([[300, 300, 320, 320], BOXES[0]], [0.9, 0.5])
    accuracy = coco_accuracy([truth(BOXES[:1], (0,), (False,))], [wrong_first])
    assert accuracy.ap == pytest.approx(0.5)


def test_a_shifted_box_counts_up_to_its_iou():
    """IoU 0.72 counts at 0.50, 0.55, …, 0.70: five of ten thresholds."""
    shifted = found([[0, 0, 100, 72]], [0.9])
    accuracy = coco_accuracy([truth([[0, 0, 100, 100]], (0,), (False,))], [shifted])
    assert (accuracy.ap, accuracy.ap50) == pytest.approx((0.5, 1))


def test_the_mean_is_over_labelled_classes():
    """Class 0 perfect and class 1 missed give 1/2; a class without labels does not count."""
    detections = found([BOXES[0], BOXES[0]], [0.9, 0.8], [0, 5])
    assert coco_accuracy([truth(labels=(0, 1))], [detections]).ap == pytest.approx(0.5)


def test_a_box_in_another_picture_does_not_count():
    """Detections stay with their picture, and pictures without labels count false ones."""
    labelled = [truth(BOXES[:1], (0,), (False,)), truth(np.zeros((0, 4)), (), ())]
    detections = [found([], []), found(BOXES[:1], [0.9])]
    assert coco_accuracy(labelled, detections).ap == 0


def test_crowds_neither_help_nor_harm():
    """A detection inside a crowd is ignored; were it counted, precision would drop to 1/2."""
    inside = found([[100, 100, 130, 130], BOXES[0]], [0.9, 0.5])
    accuracy = coco_accuracy([truth(crowd=(False, True))], [inside])
    assert accuracy.ap == pytest.approx(1)


def test_no_detections_have_ap_zero(capfd):
    """Dead scores give 0 and the evaluation prints nothing."""
    accuracy = coco_accuracy([truth()], [found([], [])])
    assert (accuracy.ap, accuracy.ap50) == (0, 0)
    assert capfd.readouterr() == ("", "")


def test_no_labelled_box_is_an_error():
    """Without a box (crowds do not count) there is nothing to measure against."""
    with pytest.raises(LabelError, match="no labelled box"):
        coco_accuracy([truth(crowd=(True, True))], [found([], [])])


def test_agreement_takes_confident_float_detections_for_labels():
    """The float box at 0.3 is no reference, the one at 0.31 is."""
    reference = [found(BOXES, [0.31, 0.3])]
    same = agreement(reference, [found(BOXES[:1], [0.6])])
    assert same is not None
    assert same.ap == pytest.approx(1)
    assert agreement(reference, [found([], [])]).ap == 0
    assert agreement([found(BOXES, [0.3, 0.1])], reference) is None


def write(path, content):
    """Write labels as JSON."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_labels_are_read_by_base_name_and_sorted_category(tmp_path):
    """The lowest category id is class 0; folders of file_name do not matter; x,y,w,h to corners."""
    labels = read_labels(write(tmp_path / "l.json", LABELS))
    assert labels.categories == ("cat", "dog")
    [a, b, unlisted] = labels.of(["a.jpg", "b.jpg", "c.jpg"])
    assert a.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert a.labels.tolist() == [1, 0]
    assert a.crowd.tolist() == [False, True]
    assert len(b) == len(unlisted) == 0
    with pytest.raises(LabelError, match=r"labels nothing.*z\.jpg"):
        labels.of(["z.jpg"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read"),
        ("[1]", "not a COCO label file"),
        ({"images": [], "annotations": []}, "categories"),
        ({**LABELS, "images": [{"id": 7}]}, "file_name"),
        ({**LABELS, "images": LABELS["images"][1:]}, "image 7"),
        ({**LABELS, "categories": LABELS["categories"][:1]}, "category 3"),
        ({**LABELS, "images": [{"id": i, "file_name": f"{i}/a.jpg"} for i in (7, 9)]}, "same id"),
        ({**LABELS, "annotations": [{**LABELS["annotations"][0], "bbox": [1, 2]}]}, "not a COCO"),
        (
            {**LABELS, "annotations": [{**LABELS["annotations"][0], "bbox": [1, 2, -3, 4]}]},
            "annotation 1",
        ),
    ],
)
def test_bad_label_files_are_named(tmp_path, content, message):
    """Each error names the file and what is wrong with it."""
    path = write(tmp_path / "l.json", content)
    with pytest.raises(LabelError, match=message) as error:
        read_labels(path)
    assert "l.json" in str(error.value)


def test_a_missing_label_file_is_named(tmp_path):
    """No traceback of open()."""
    with pytest.raises(LabelError, match=r"none\.json"):
        read_labels(tmp_path / "none.json")
