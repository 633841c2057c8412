"""What the candidates of a picture are to predict, by its labels, for the detector's own loss.

Which candidate answers for which label is decided by what the float model says of the picture, not
the quantized one: that needs no run of the student, does not change while it is trained, and so is
found once for each picture and each mirror image. Our choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from passes.graph import remove_unused, values_by_name
from zqc.autodiff.emitter import Emitter
from zqc.detection.losses.assignment import Assignment, Objects
from zqc.detection.losses.loss import goals
from zqc.detection.nms import Selection, select
from zqc.detection.pairing import SCORE_THRESHOLD
from zqc.runtime import session

if TYPE_CHECKING:
    import onnx_ir as ir

    from zqc.detection.losses.detector_loss import DetectorLoss

    Picture = tuple[int, bool]
    Pictures = NDArray[np.float32]
    Row = tuple[Objects, Assignment]

_KEPT = 2**23
"""Candidates that are remembered, 128 MB; the pictures of others are run through the float model
once more."""


class Goals:
    """Finds what the candidates of pictures are to predict.

    A picture whose labels are not known has those that the float model is sure of (a score above
    0.3, after non-maximum suppression); where it is sure of none, the picture counts nothing.

    Args:
        reader: The float model with candidates as outputs, see ``reader``.
        detector: How they are assigned.
        source: Name of the input.
        size: Pictures of a batch of the reader.
        labels: What each picture shows, in the order of the pictures; None where that is not known,
            nothing for those behind the last.
        threads: Threads of ONNX Runtime.
    """

    def __init__(
        self,
        reader: ir.Model,
        detector: DetectorLoss,
        source: str,
        size: int,
        labels: Sequence[Objects | None],
        threads: int | None,
    ) -> None:
        self._run, self._source = session.load(reader, threads=threads), source
        self._detector, self._size, self._labels = detector, size, labels
        self._found: dict[Picture, Row] = {}

    def __call__(
        self, pictures: Iterable[Picture], tensors: Pictures
    ) -> dict[str, NDArray[np.generic]]:
        """The arrays for ``zqc.detection.losses.loss.GOALS``.

        Args:
            pictures: Place of each picture in the calibration set, and whether it is mirrored.
            tensors: The pictures as the model gets them, mirrored or not, (N, C, H, W).
        """
        rows = [self._row(each, one) for each, one in zip(pictures, tensors, strict=True)]
        objects, assigned = zip(*rows, strict=True)
        return goals(objects, assigned)

    def _row(self, picture: Picture, tensor: Pictures) -> Row:
        """What one picture shows, and what its candidates are to predict."""
        if picture not in self._found:
            if len(self._found) * self._detector.candidates >= _KEPT:
                self._found.clear()
            self._found[picture] = self._assigned(picture, tensor)
        return self._found[picture]

    def _assigned(self, picture: Picture, tensor: Pictures) -> Row:
        # All pictures of the batch are this one: what is found must not depend on the others.
        said = self._run({self._source: np.repeat(tensor[None], self._size, axis=0)})
        boxes, scores = (np.asarray(said[name][0], np.float32) for name in READ)
        place, mirrored = picture
        known = self._labels[place] if place < len(self._labels) else None
        if known is None:
            objects = self._sure(boxes, scores)
            if not len(objects):
                return objects, Assignment.ignoring(len(boxes))
        else:
            objects = known.mirrored(self._detector.size[1]) if mirrored else known
        (assigned,) = self._detector.assigned(boxes[None], scores[None], [objects])
        return objects, assigned

    def _sure(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Objects:
        """What the float model is sure of, as labels."""
        found = select(boxes, scores, Selection(score_threshold=SCORE_THRESHOLD))
        height, width = self._detector.size
        return Objects(np.asarray(found.boxes, np.float32), found.labels).inside(height, width)


READ = ("candidate_boxes", "candidate_scores")
"""Outputs of ``reader``: (N, A, 4) in pixels, and (N, A, C) in 0…1."""


def reader(model: ir.Model, detector: DetectorLoss) -> ir.Model:
    """The float model, with its candidates as outputs.

    Args:
        model: The model, its batch fixed and its shapes inferred; it is not changed.
        detector: How its outputs are read.
    """
    copy = model.clone()
    values, emitter = values_by_name(copy.graph), Emitter(copy.graph)
    found = detector.read(emitter, {name: values[name] for name in detector.outputs})
    outputs = zip((found.boxes, found.scores(emitter)), READ, strict=True)
    copy.graph.outputs[:] = [emitter.named(value, name) for value, name in outputs]
    remove_unused(copy)
    return copy
