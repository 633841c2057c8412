"""AP of weighted pictures is the library's AP of pictures that are there so often."""

import dataclasses

import numpy as np
import pytest

from tests.zqc.detection.scenes import random_scenes
from zqc.detection.average_precision import accuracy_and_matches, coco_accuracy
from zqc.detection.coco_evaluation import evaluate
from zqc.detection.matches import matches_of


@pytest.mark.parametrize("seed", range(5))
def test_all_pictures_once_are_the_library(seed):
    """The mean and every IoU threshold to 1e-9, with crowds and equal scores."""
    truth, detections = random_scenes(seed)
    accuracy, matches = accuracy_and_matches(truth, detections)
    (ap,) = matches.average_precision(np.ones((1, len(truth)), np.int64))
    assert ap.mean() == pytest.approx(accuracy.ap, abs=1e-9)
    assert (ap[0], ap[5]) == pytest.approx((accuracy.ap50, accuracy.ap75), abs=1e-9)
    precision = evaluate(truth, detections).precision[..., 0]
    assert ap == pytest.approx(precision.mean(axis=(1, 2)), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_the_library_on_repeated_pictures(seed):
    """Some pictures twice, some not at all; scores all differ, since equal ones have no order."""
    truth, detections = random_scenes(seed, ties=False)
    _, matches = accuracy_and_matches(truth, detections)
    weights = np.random.default_rng(seed).integers(0, 3, (2, len(truth)))
    for row, ap in zip(weights, matches.average_precision(weights), strict=True):
        drawn = np.repeat(np.arange(len(truth)), row)
        sample = coco_accuracy([truth[i] for i in drawn], [detections[i] for i in drawn])
        assert ap.mean() == pytest.approx(sample.ap, abs=1e-9)


def test_poses_match_as_the_library_says():
    """Labels without a labelled keypoint do not count."""
    rng = np.random.default_rng(2)
    truth, detections = random_scenes(2)
    poses, found = [], []
    for t, d in zip(truth, detections, strict=True):
        points = rng.uniform(0, 300, (len(t), 3, 3))
        points[..., 2] = 2 * (rng.random((len(t), 1)) > 0.3)
        seen = rng.uniform(0, 300, (len(d), 3, 3))
        seen[: len(t), :, :2] = points[..., :2] + rng.normal(0, 20, (len(t), 3, 2))
        labels = np.concatenate([t.labels, d.labels[len(t) :]])
        poses.append(dataclasses.replace(t, keypoints=points))
        found.append(dataclasses.replace(d, keypoints=seen, labels=labels))
    accuracy, matches = accuracy_and_matches(poses, found, kind="keypoints")
    assert 0.1 < accuracy.ap < 0.9
    (ap,) = matches.average_precision(np.ones((1, len(truth)), np.int64))
    assert ap.mean() == pytest.approx(accuracy.ap, abs=1e-9)


def test_boxes_with_a_negative_side_do_not_count():
    """As in COCO, whose areas begin at 0."""
    truth, detections = random_scenes(0)
    turned = [dataclasses.replace(d, boxes=d.boxes[:, [2, 1, 0, 3]]) for d in detections]
    both = [
        dataclasses.replace(
            d,
            boxes=np.concatenate([d.boxes, t.boxes]),
            scores=np.concatenate([d.scores, t.scores]),
            labels=np.concatenate([d.labels, t.labels]),
        )
        for d, t in zip(detections, turned, strict=True)
    ]
    accuracy, matches = accuracy_and_matches(truth, both)
    (ap,) = matches.average_precision(np.ones((1, len(truth)), np.int64))
    assert ap.mean() == pytest.approx(accuracy.ap, abs=1e-9)
    assert accuracy.ap == pytest.approx(coco_accuracy(truth, detections).ap, abs=1e-9)


def test_a_sample_without_labels_has_no_ap():
    """NaN, not 0; and a class counts only in samples that have a label of it."""
    truth, detections = random_scenes(4)
    matches = matches_of(evaluate(truth, detections), truth, detections)
    assert np.isnan(matches.average_precision(np.zeros((1, len(truth)), np.int64))).all()
    first = next(i for i, t in enumerate(truth) if len(t))
    one = np.zeros((1, len(truth)), np.int64)
    one[0, first] = 1
    alone = coco_accuracy([truth[first]], [detections[first]])
    assert matches.average_precision(one).mean() == pytest.approx(alone.ap, abs=1e-9)
