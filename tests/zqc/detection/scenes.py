"""Random labels, and detections that find some of them."""

import numpy as np

from zqc.detection.detections import Detections
from zqc.detection.labels.labels import Truth


def boxes(rng, count):
    """Return boxes of all of COCO's sizes."""
    corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(8, 140, (count, 2))
    return np.concatenate([corner, corner + size], 1)


def random_scenes(seed, pictures=12, classes=3, shift=4.0, ties=True):
    """Return labels, a tenth of them crowds, and detections: each label twice, and false ones.

    Scores of two digits are often equal.
    """
    rng = np.random.default_rng(seed)
    truth, detections = [], []
    for _ in range(pictures):
        count = int(rng.integers(0, 9))
        labelled, labels = boxes(rng, count), rng.integers(0, classes, count)
        truth.append(Truth(labelled, labels, rng.random(count) < 0.1))
        near = [labelled + rng.normal(0, s, labelled.shape).clip(-3, 3) for s in (shift, 3 * shift)]
        found = np.concatenate([*near, boxes(rng, 20)])
        scores = np.concatenate([rng.beta(4, 2, 2 * count), rng.beta(1, 5, 20)])
        scores = np.round(scores, 2) if ties else scores
        own = np.concatenate([labels, labels, rng.integers(0, classes, 20)])
        order = np.argsort(-scores, kind="stable")
        detections.append(Detections(found[order], scores[order], own[order]))
    return truth, detections
