"""Labels of the pictures that two models are compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zqc.commands.detector import Detector
from zqc.detection.average_precision import Accuracy, accuracy_and_matches
from zqc.detection.bootstrap import Interval, difference_interval
from zqc.detection.coco_evaluation import Kind
from zqc.detection.comparison import Comparison, Renamed
from zqc.detection.detections import Detections
from zqc.detection.labels.classes import match_classes
from zqc.detection.labels.labels import Truth
from zqc.detection.labels.read import read_labels
from zqc.detection.pairing import SCORE_THRESHOLD
from zqc.errors import OptionError
from zqc.pictures.images import ImageSet


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labelled boxes of some pictures, with the model's classes.

    Attributes:
        truth: Of each picture.
        names: Name of each class of the model that the labels have.
        kind: What is compared with them.
        notes: What should be known of them.
        listed: Places of the pictures that count.
    """

    truth: tuple[Truth, ...]
    names: dict[int, str]
    kind: Kind
    notes: tuple[str, ...]
    listed: tuple[int, ...]

    def mislabelled(self, seen: Comparison, names: Mapping[int, str]) -> tuple[Renamed, ...]:
        """Classes of which the float model finds the labelled boxes under another class."""
        labelled = tuple(Detections(one.boxes, np.ones(len(one)), one.labels) for one in self.truth)
        return Comparison((), labelled, seen.reference).renamed_classes(SCORE_THRESHOLD, names)

    def accuracy(self, seen: Comparison) -> tuple[Accuracy, Accuracy, Interval]:
        """Average precision of the float model and of the quantized one, and of their difference.

        Raises:
            LabelError: There is nothing to measure.
        """
        windows = [seen.windows[i] for i in self.listed] if seen.windows else None
        (first, matches), (second, others) = (
            accuracy_and_matches(
                [self.truth[i] for i in self.listed],
                [found[i] for i in self.listed],
                names=self.names,
                kind=self.kind,
                windows=windows,
            )
            for found in (seen.reference, seen.quantized)
        )
        return first, second, difference_interval(matches, others)


def labelled(
    path: Path, pictures: ImageSet, detector: Detector, names: tuple[str, ...] = ()
) -> Labelled:
    """Read labels, and match their classes with the model's.

    Args:
        path: The labels.
        pictures: The pictures that they belong to.
        detector: The detector.
        names: Names of the classes that the user gave; labels without names have them, too.

    Raises:
        LabelError: They cannot be used, or do not fit the pictures or the model.
        OptionError: It is not known how the model's outputs hold boxes and scores.
    """
    convention = detector.convention
    if convention is None:
        raise OptionError(f"labels were given, but {detector.text}; or leave the labels out")
    labels = read_labels(path, pictures.files, names=names)
    match = match_classes(labels, detector.names, convention.classes)
    truth = tuple(match.truth(labels.of(pictures.names)))
    kind, notes = _kind(convention.task, truth), match.notes
    if convention.task == "segment" and kind == "boxes":
        notes = (*notes, "boxes are compared with the labels, not masks: they have no outlines")
    listed = tuple(labels.listed(pictures.names))
    if left := len(pictures) - len(listed):
        said = "1 picture is" if left == 1 else f"{left} pictures are"
        notes = (*notes, f"{said} not in the labels: not counted")
    return Labelled(truth, match.names, kind, notes, listed)


def _kind(task: str, truth: Sequence[Truth]) -> Kind:
    """What labels are compared by: masks, rotated boxes and poses where both sides have them."""
    some = [one for one in truth if len(one)]
    if task == "obb" and all(one.corners is not None for one in some):
        return "outlines"
    if task == "segment" and all(one.outlines is not None for one in some):
        return "outlines"
    if task == "pose" and all(one.keypoints is not None for one in some):
        return "keypoints"
    return "boxes"
