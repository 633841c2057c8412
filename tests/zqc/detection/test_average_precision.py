"""Average precision on cases with a closed form."""

import dataclasses
import math

import numpy as np
import pytest

from zqc.detection.average_precision import accuracy_and_matches, agreement, coco_accuracy
from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Truth
from zqc.detection.masks import Masks
from zqc.errors import LabelError
from zqc.pictures.images import PicturePlacement

BOXES = np.array([[0, 0, 40, 40], [100, 100, 160, 180]], float)


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


def test_sizes_and_classes_are_told_apart():
    """A small box missed and a large one found; NaN where there is nothing of a size."""
    labelled = truth([[0, 0, 20, 20], [100, 100, 300, 300]], (3, 5))
    accuracy = coco_accuracy(
        [labelled], [found([[100, 100, 300, 300]], [0.9], [5])], names={5: "cat"}
    )
    assert (accuracy.small, accuracy.large) == pytest.approx((0, 1))
    assert math.isnan(accuracy.medium)
    assert (accuracy.ap, accuracy.ap50, accuracy.ap75) == pytest.approx((0.5, 0.5, 0.5))
    three, five = accuracy.classes
    assert (three.name, three.ap, three.labels) == ("3", 0, 1)
    assert (five.label, five.name, five.labels) == (5, "cat", 1)
    assert (five.ap, five.ap50) == pytest.approx((1, 1))


def test_the_area_of_the_label_decides_its_size():
    """COCO's ``area`` is that of the object, not of its box."""
    labelled = dataclasses.replace(truth(BOXES[:1], (0,), (False,)), areas=np.array([900.0]))
    accuracy = coco_accuracy([labelled], [found(BOXES[:1], [0.9])])
    assert accuracy.small == pytest.approx(1)
    assert math.isnan(accuracy.medium)


def test_rotated_boxes_are_compared_as_outlines():
    """A diamond is not the square around it: IoU 1/2 counts at none but the lowest threshold."""
    square = np.array([[[0, 0], [100, 0], [100, 100], [0, 100]]], float)
    diamond = np.array([[[50, 0], [100, 50], [50, 100], [0, 50]]], float)
    boxes = np.array([[0, 0, 100, 100]], float)
    labelled = dataclasses.replace(truth(boxes, (0,), (False,)), corners=diamond)
    for corners, ap in ((diamond, 1), (square, 0)):
        detections = dataclasses.replace(found(boxes, [0.9]), corners=corners)
        assert coco_accuracy([labelled], [detections]).ap == pytest.approx(1)
        accuracy = coco_accuracy([labelled], [detections], kind="outlines")
        assert accuracy.kind == "outlines"
        assert accuracy.ap75 == pytest.approx(ap)


def test_poses_are_compared_by_their_keypoints():
    """Points moved by d have OKS exp(-d²/(2·area·(2σ)²)), here 0.72: five of ten thresholds."""
    area, sigma = 1600.0, 1 / 3
    distance = math.sqrt(-2 * area * (2 * sigma) ** 2 * math.log(0.72))
    points = np.array([[[10, 10, 2], [30, 10, 2], [20, 30, 1]]], float)
    labelled = dataclasses.replace(
        truth(BOXES[:1], (0,), (False,)), keypoints=points, areas=np.array([area])
    )
    moved = points + np.array([distance, 0, 0])
    detections = dataclasses.replace(found(BOXES[:1], [0.9]), keypoints=moved)
    accuracy = coco_accuracy([labelled], [detections], kind="keypoints")
    assert accuracy.ap == pytest.approx(0.5)
    assert math.isnan(accuracy.small)


@pytest.mark.parametrize("kind", ["outlines", "keypoints"])
def test_what_is_not_there_is_not_compared(kind):
    """Boxes alone have neither outlines nor keypoints."""
    with pytest.raises(LabelError, match="compare boxes"):
        coco_accuracy([truth()], [found(BOXES, [0.9, 0.8])], kind=kind)


def test_agreement_compares_what_the_detections_are():
    """Corners and keypoints that differ in equal boxes show; those of the same model agree."""
    boxes = np.array([[0, 0, 100, 100]], float)
    square = np.array([[[0, 0], [100, 0], [100, 100], [0, 100]]], float)
    diamond = np.array([[[50, 0], [100, 50], [50, 100], [0, 50]]], float)
    plain = found(boxes, [0.9])
    rotated = [dataclasses.replace(plain, corners=c) for c in (square, diamond)]
    points = np.array([[[10, 10, 0.9], [30, 10, 0.9], [20, 30, 0.1]]])
    poses = [dataclasses.replace(plain, keypoints=p) for p in (points, points + 90)]
    for (one, other), kind in ((rotated, "outlines"), (poses, "keypoints")):
        same, different = agreement([one], [one]), agreement([one], [other])
        assert (same.ap, same.kind, different.kind) == (pytest.approx(1), kind, kind)
        assert different.ap75 == pytest.approx(0)
        assert agreement([one], [plain]).kind == "boxes"
        assert agreement([one], [found([], [])]).ap == 0


def segmented(*masks, boxes=((0, 0, 100, 100),), score=0.9):
    """Detections of class 0 with masks on one grid."""
    count = len(masks)
    every = np.repeat(np.asarray(boxes, float), count, axis=0)[:count]
    plain = found(every, [score - 0.01 * i for i in range(count)])
    return dataclasses.replace(plain, masks=Masks.of(np.stack(masks).astype(bool)))


def band(rows, grid=(50, 40)):
    """A mask of the first so many rows of a grid."""
    mask = np.zeros(grid, bool)
    mask[:rows] = True
    return mask


def test_agreement_compares_masks_on_their_grid():
    """Equal boxes whose masks have an IoU of 36/50 = 0.72: five of ten thresholds."""
    whole, less = segmented(band(50)), segmented(band(36))
    same, different = agreement([whole], [whole]), agreement([whole], [less])
    assert (same.ap, same.kind, different.kind) == (pytest.approx(1), "outlines", "outlines")
    assert (different.ap, different.ap50, different.ap75) == pytest.approx((0.5, 1, 0))
    nothing = whole.take([])
    assert agreement([whole], [nothing]).ap == 0
    assert agreement([nothing], [whole]) is None
    boxes = agreement([whole], [dataclasses.replace(less, masks=None)])
    assert (boxes.ap, boxes.kind) == (pytest.approx(1), "boxes")


@pytest.mark.parametrize(("side", "size"), [(20.0, "small"), (60.0, "medium"), (200.0, "large")])
def test_the_size_of_a_mask_is_in_pixels_of_the_picture(side, size):
    """A mask that fills its window has the area of the window, not that of its cells."""
    whole = segmented(band(50))
    accuracy = agreement([whole], [whole], windows=[(0.0, 0.0, side, side)])
    sizes = {name: getattr(accuracy, name) for name in ("small", "medium", "large")}
    assert sizes.pop(size) == pytest.approx(1)
    assert all(math.isnan(other) for other in sizes.values())


def test_masks_that_cover_nothing_are_left_out():
    """They could not be found again; the other detection of the picture is, without a mistake."""
    one = segmented(band(0), band(20))
    assert agreement([one], [one]).ap == pytest.approx(1)
    assert agreement([segmented(band(0))], [one]) is None


def test_masks_find_labelled_outlines_in_their_window():
    """A picture of 200 x 100 in a square input; the mask covers 36 of the label's 50 rows.

    The matches, which the interval comes from, say the same.
    """
    placement = PicturePlacement(0.5, 0.5, 0, 25, 200, 100)
    outline = np.array([[0, 0], [200, 0], [200, 100], [0, 100]], float)
    box = np.array([[0, 0, 200, 100]], float)
    labelled = dataclasses.replace(truth(box, (0,), (False,)), outlines=((outline,),))
    mask = np.zeros((100, 100), bool)
    mask[25 : 25 + 36] = True
    accuracy, matches = accuracy_and_matches(
        [labelled],
        [segmented(mask, boxes=box)],
        kind="outlines",
        windows=[placement.window(100, 100)],
    )
    assert (accuracy.ap, accuracy.large) == pytest.approx((0.5, 0.5))
    weights = np.ones((1, 1), np.int64)
    assert matches.average_precision(weights).mean() == pytest.approx(0.5)
