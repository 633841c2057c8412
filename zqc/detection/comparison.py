"""Two models side by side on pictures: their outputs part by part, and what both detect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zqc.detection.agreement import OutputsMeter, PartAgreement
from zqc.detection.coco_evaluation import Window
from zqc.detection.conventions.convention import Convention, Outputs
from zqc.detection.detections import Detections
from zqc.detection.pairing import kept_pairs
from zqc.detection.parts import OutputPart
from zqc.pictures.images import PicturePlacement
from zqc.progress import Task

Run = Callable[[NDArray[np.float32]], tuple[Outputs, Outputs]]
"""Runs both models on input tensors (N, C, H, W)."""


_FEWEST, _MOST = 4, 0.75


@dataclass(frozen=True)
class Renamed:
    """A class whose boxes come out as another one.

    Attributes:
        name: The class in the float model.
        other: The class in the quantized one.
        boxes: How many of its boxes come out so.
        of: How many of its boxes the quantized model has under any class.
    """

    name: str
    other: str
    boxes: int
    of: int


@dataclass(frozen=True, eq=False)
class PairedPicture:
    """What two models find in one picture.

    Attributes:
        reference: What the float model finds.
        quantized: What the quantized one finds.
        pairs: Index in each of the two and overlap of those that pair.
    """

    reference: Detections
    quantized: Detections
    pairs: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Comparison:
    """What running both models over pictures left.

    Attributes:
        parts: Agreement of the outputs, part by part.
        reference: What the float model detects in each picture; nothing without a convention.
        quantized: What the quantized one does.
        windows: What rectangle of each picture, in its pixels, the input covers, and so the grid of
            the masks.
    """

    parts: tuple[PartAgreement, ...]
    reference: tuple[Detections, ...]
    quantized: tuple[Detections, ...]
    windows: tuple[Window, ...] = ()

    def renamed_classes(self, threshold: float, names: Mapping[int, str]) -> tuple[Renamed, ...]:
        """Find the classes whose boxes come out as another one, the surest first.

        Rounding flips the class of a box now and then, but not of most boxes of a class, and not
        always to the same one. Our choice: at least 4 boxes, and half of all, that pair regardless
        of their class, of which three quarters have one other class.

        Args:
            threshold: Scores that count.
            names: Names of the classes.
        """
        seen: dict[int, Counter[int]] = {}
        boxes_of: Counter[int] = Counter()
        for both in zip(self.reference, self.quantized, strict=True):
            one, other = (found.above(threshold) for found in both)
            boxes_of.update(one.labels.tolist())
            for i, j, _ in kept_pairs(_of_one_class(one), _of_one_class(other)):
                counts = seen.setdefault(int(one.labels[i]), Counter())
                counts[int(other.labels[j])] += 1
        found = []
        for label, counts in seen.items():
            (most, boxes), total = counts.most_common(1)[0], counts.total()
            enough = total >= _FEWEST and 2 * total >= boxes_of[label]
            if most != label and enough and boxes >= _MOST * total:
                called, now = (names.get(each, str(each)) for each in (label, most))
                found.append(Renamed(called, now, boxes, total))
        return tuple(sorted(found, key=lambda each: (-each.of, each.name)))

    def paired(self, index: int, threshold: float) -> PairedPicture:
        """What both find in one picture with a score above a threshold, and what of it pairs."""
        sides = (side[index].above(threshold) for side in (self.reference, self.quantized))
        reference, quantized = sides
        return PairedPicture(reference, quantized, kept_pairs(reference, quantized))


def compare(
    run: Run,
    batches: Iterable[tuple[NDArray[np.float32], Sequence[PicturePlacement]]],
    parts: tuple[OutputPart, ...],
    convention: Convention | None,
    *,
    task: Task,
) -> Comparison:
    """Run both models over pictures.

    Args:
        run: Runs them on a batch.
        batches: Input tensors, and where each picture lies in them.
        parts: What stands where in the outputs.
        convention: How detections are read from them, if that is known.
        task: Advanced by the number of pictures.

    Raises:
        ZqcError: A model cannot be run, or its outputs not be read.
    """
    meter = OutputsMeter.of(parts)
    found: tuple[list[Detections], list[Detections]] = ([], [])
    windows: list[Window] = []
    for tensors, placements in batches:
        outputs = run(tensors)
        meter.update(*outputs)
        if convention is not None:
            windows += [placement.window(*tensors.shape[2:]) for placement in placements]
            for side, values in zip(found, outputs, strict=True):
                decoded = convention.decode(values)
                side.extend(
                    one.in_picture(placement)
                    for one, placement in zip(decoded, placements, strict=True)
                )
        task.advance(steps=len(tensors))
    return Comparison(meter.results(), tuple(found[0]), tuple(found[1]), tuple(windows))


def _of_one_class(found: Detections) -> Detections:
    return replace(found, labels=np.zeros_like(found.labels))
