"""COCO's evaluation, against pycocotools where that is installed."""

import dataclasses

import numpy as np
import pytest

from tests.zqc.detection.scenes import random_scenes
from zqc.detection.average_precision import coco_accuracy
from zqc.detection.coco_evaluation import IOU_THRESHOLDS, evaluate


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
            if kind == "keypoints":
                row["keypoints"] = t.keypoints[i].reshape(-1).tolist()
                row["num_keypoints"] = int((t.keypoints[i, :, 2] > 0).sum())
            labelled.append(row)
        for i in range(len(d)):
            (x1, y1, x2, y2) = map(float, d.boxes[i])
            row = {"image_id": index, "category_id": int(d.labels[i]), "score": float(d.scores[i])}
            if kind == "keypoints":
                row["keypoints"] = d.keypoints[i].reshape(-1).tolist()
            else:
                row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            found.append(row)
    data = coco.COCO()
    data.dataset = {
        "images": [{"id": index} for index in range(len(truth))],
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
