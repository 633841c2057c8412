"""COCO's evaluation, against pycocotools where that is installed."""

import dataclasses

import numpy as np
import pytest

from tests.zqc.detection.scenes import random_scenes
from zqc.detection.average_precision import coco_accuracy
from zqc.detection.coco_evaluation import IOU_THRESHOLDS, evaluate
from zqc.detection.detections import Detections
from zqc.detection.labels.labels import EMPTY, Truth
from zqc.detection.masks import Masks
from zqc.errors import LabelError

CORNERS = np.array([[40, 20], [120, 20], [120, 80], [40, 80]], float)


def pycocotools_stats(truth, detections, kind, capsys):
    """What pycocotools says: AP, AP50, AP75, small, medium, large."""
    coco = pytest.importorskip("pycocotools.coco", reason="only an independent reference")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    labelled, found = [], []
    for index, (t, d) in enumerate(zip(truth, detections, strict=True)):
        for i in range(len(t)):
            (x1, y1, x2, y2) = map(float, t.boxes[i])
            row = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            row |= {"image_id": index, "category_id": int(t.labels[i]), "id": len(labelled) + 1}
            row["iscrowd"] = int(t.crowd[i])
            if kind == "segm":
                row["segmentation"] = [p.reshape(-1).tolist() for p in t.outlines[i]]
            if kind == "keypoints":
                row["keypoints"] = t.keypoints[i].reshape(-1).tolist()
                row["num_keypoints"] = int((t.keypoints[i, :, 2] > 0).sum())
            labelled.append(row)
        for i in range(len(d)):
            (x1, y1, x2, y2) = map(float, d.boxes[i])
            row = {"image_id": index, "category_id": int(d.labels[i]), "score": float(d.scores[i])}
            if kind == "keypoints":
                row["keypoints"] = d.keypoints[i].reshape(-1).tolist()
            elif kind == "segm":
                mask = pytest.importorskip("pycocotools.mask")
                row["segmentation"] = mask.encode(np.asfortranarray(d.masks.arrays()[i], np.uint8))
            else:
                row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            found.append(row)
    data = coco.COCO()
    data.dataset = {
        "images": [{"id": i, "height": 440, "width": 440} for i in range(len(truth))],
        "categories": [{"id": label} for label in range(3)],
        "annotations": labelled,
    }
    data.createIndex()
    evaluator = cocoeval.COCOeval(data, data.loadRes(found), "bbox" if kind == "boxes" else kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    capsys.readouterr()
    return evaluator.stats


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_measured_as_pycocotools_does(seed, capsys):
    """All six numbers, with crowds and equal scores, to 1e-9."""
    truth, detections = random_scenes(seed)
    expected = pycocotools_stats(truth, detections, "boxes", capsys)[:6]
    a = coco_accuracy(truth, detections)
    got = [a.ap, a.ap50, a.ap75, a.small, a.medium, a.large]
    assert got == pytest.approx(expected, abs=1e-9)


def test_poses_are_measured_as_pycocotools_does(capsys):
    """COCO's 17 keypoints, some of them not labelled."""
    rng = np.random.default_rng(0)
    truth, detections = random_scenes(0)
    poses, found = [], []
    for t, d in zip(truth, detections, strict=True):
        points = rng.uniform(0, 300, (len(t), 17, 3)).round()
        points[..., 2] = rng.integers(0, 3, (len(t), 17)) * (rng.random((len(t), 1)) > 0.1)
        seen = rng.uniform(0, 300, (len(d), 17, 3))
        for i in range(len(t)):  # each labelled pose is found once, off by some pixels
            seen[i] = points[i] + rng.normal(0, 4, (17, 3))
        labels = d.labels.copy()
        labels[: len(t)] = t.labels
        poses.append(dataclasses.replace(t, keypoints=points))
        found.append(dataclasses.replace(d, keypoints=seen, labels=labels))
    expected = pycocotools_stats(poses, found, "keypoints", capsys)[:5]
    a = coco_accuracy(poses, found, kind="keypoints")
    assert a.ap > 0.05
    assert [a.ap, a.ap50, a.ap75, a.medium, a.large] == pytest.approx(expected, abs=1e-9)


def disc(box, grid):
    """Which cells of a grid an ellipse in a box covers."""
    rows, columns = np.mgrid[: grid[0], : grid[1]] + 0.5
    (x1, y1, x2, y2) = box
    across = (columns - (x1 + x2) / 2) / max(x2 - x1, 1)
    down = (rows - (y1 + y2) / 2) / max(y2 - y1, 1)
    return across**2 + down**2 < 0.25


def masked_scenes(seed):
    """Return labels that are ellipses in their boxes, and detections with masks of pixels."""
    truth, detections = random_scenes(seed, pictures=6)
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1) / 2
    outlined = [
        dataclasses.replace(
            t,
            outlines=tuple(((b[:2] + b[2:]) / 2 + circle * (b[2:] - b[:2]),) for b in t.boxes),
        )
        for t in truth
    ]
    found = [
        dataclasses.replace(d, masks=Masks.of(np.stack([disc(box, (440, 440)) for box in d.boxes])))
        for d in detections
    ]
    return outlined, found


def test_masks_are_measured_as_pycocotools_does(capsys):
    """Ellipses, on a grid of the picture's own pixels: all six numbers."""
    truth, detections = masked_scenes(3)
    uncrowded = [dataclasses.replace(t, crowd=np.zeros(len(t), bool)) for t in truth]
    expected = pycocotools_stats(uncrowded, detections, "segm", capsys)[:6]
    windows = [(0.0, 0.0, 440.0, 440.0)] * len(truth)
    a = coco_accuracy(uncrowded, detections, kind="outlines", windows=windows)
    assert a.ap > 0.1
    got = [a.ap, a.ap50, a.ap75, a.small, a.medium, a.large]
    assert np.array(got) == pytest.approx(expected, abs=1e-9)


def test_masks_lie_in_their_window():
    """A picture of 200 x 100 in the middle of a square input, masks on its quarter grid."""
    box = np.array([[40, 20, 120, 80]], float)
    truth = Truth(box, np.array([0]), np.array([False]), outlines=((CORNERS,),))
    mask = np.zeros((1, 50, 50), bool)
    mask[0, 17:33, 10:30] = True  # y: 20 + 50 above it, in cells of four pixels: 17.5 to 32.5
    found = Detections(box, np.array([0.9]), np.array([0]), masks=Masks.of(mask))
    nothing = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    windows = [(0.0, -50.0, 200.0, 150.0)] * 2
    a = coco_accuracy([truth, EMPTY], [found, nothing], kind="outlines", windows=windows)
    assert (a.ap75, a.ap50) == pytest.approx((1, 1))
    assert a.medium == a.ap > 0.85
    moved = [(0.0, -50.0, 400.0, 350.0)] * 2
    assert coco_accuracy([truth, EMPTY], [found, nothing], kind="outlines", windows=moved).ap50 == 0
    with pytest.raises(LabelError, match="compare boxes"):
        coco_accuracy([truth], [found], kind="outlines")


def test_corners_that_are_no_numbers_find_nothing():
    """A broken model may say anything; the evaluation ends, and its AP is 0."""
    box = np.array([[0, 0, 50, 50]], float)
    truth = Truth(box, np.array([0]), np.array([False]), corners=CORNERS[None])
    for value in (np.nan, np.inf, -1e30):
        corners = np.full((1, 4, 2), value)
        found = Detections(box, np.array([0.9]), np.array([0]), corners=corners)
        assert coco_accuracy([truth], [found], kind="outlines").ap == 0


def test_overlaps_are_of_the_classes_that_have_labels():
    """Best score first; the thresholds are those of the library."""
    truth, detections = random_scenes(1)
    evaluation = evaluate(truth, detections)
    assert evaluation.classes == (0, 1, 2)
    assert (evaluation.areas, evaluation.limit) == (("all", "small", "medium", "large"), 100)
    assert evaluation.precision.shape == (len(IOU_THRESHOLDS), 101, 3, 4)
    (picture, label), overlap = next(iter(evaluation.overlaps.items()))
    assert overlap.shape == (
        (detections[picture].labels == label).sum(),
        (truth[picture].labels == label).sum(),
    )
