"""What a quantized model still finds of what its float model finds; no labels are needed.

Detections are sets: within a picture and a class, a float box and a quantized one that overlap
enough are a pair, one to one, the greatest overlap first. Nothing depends on their order, so what
comes out of an NMS or a TopK can be compared, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from zqc.detection.detections import Detections
from zqc.detection.overlap import Floats, overlaps

SCORE_THRESHOLD = 0.3
LEAST_OVERLAP = 0.5
LEAST_SCORE = 0.1
"""Below it nothing is found, however the threshold is lowered."""

_NOTHING = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Counts:
    """Boxes of both models above one threshold, and how they pair.

    Attributes:
        float_boxes: Found by the float model.
        kept: Of those, found by the quantized model, too.
        lost: Of those, not found by it.
        lost_below: Of the lost, found by it with a score that is not above the threshold.
        new: Found by the quantized model alone.
        new_below: Of the new, found by the float model with a score that is not above it.
        iou: Mean overlap of the kept pairs; NaN where there are none.
        shift_mean: Mean of the quantized score minus the float one over the kept pairs; NaN
            likewise.
        shift_median: Its median.
    """

    float_boxes: int
    kept: int
    lost: int
    lost_below: int
    new: int
    new_below: int
    iou: float
    shift_mean: float
    shift_median: float

    @property
    def precision(self) -> float:
        """The share of the quantized model's boxes that the float model has; NaN without boxes."""
        return _ratio(self.kept, self.kept + self.new)

    @property
    def recall(self) -> float:
        """The share of the float model's boxes that the quantized one has; NaN without boxes."""
        return _ratio(self.kept, self.float_boxes)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two, 2·kept / (float boxes + quantized ones); NaN without boxes."""
        return _ratio(2 * self.kept, self.float_boxes + self.kept + self.new)


@dataclass(frozen=True)
class ClassPairing:
    """The counts of one class that either model finds.

    Attributes:
        label: The class.
        name: Its name, or its number.
        counts: Its boxes.
        threshold: See ``Pairing.threshold``.
    """

    label: int
    name: str
    counts: Counts
    threshold: float


@dataclass(frozen=True)
class Pairing:
    """How the detections of two models pair.

    Attributes:
        score_threshold: Detections of both models count when their score is greater.
        lowered: Whether that is less than was asked for, since the float model finds nothing above.
        counts: All boxes.
        threshold: The threshold at which the quantized model finds as many boxes as the float model
            does at ``score_threshold``: there each new box stands for a lost one, so precision and
            recall against the float model are the same, and precision against the truth is kept
            where lost and new boxes are right equally often. It is ``score_threshold`` itself if
            that gives as many, else the middle of those that do; with equal scores on both sides it
            gives the next smaller number of boxes. NaN where the float model finds nothing, or the
            quantized model not as many at any threshold.
        at_threshold: All boxes with the quantized model's threshold there; None where it is NaN.
        classes: By class, ascending.
        pictures: Index and F1 of each picture in which either model finds a box, worst first.
    """

    score_threshold: float
    lowered: bool
    counts: Counts
    threshold: float
    at_threshold: Counts | None
    classes: tuple[ClassPairing, ...]
    pictures: tuple[tuple[int, float], ...]

    @property
    def picture_f1(self) -> float:
        """Mean F1 of these pictures; NaN where there are none."""
        return _ratio(sum(f1 for _, f1 in self.pictures), len(self.pictures))


def pair_detections(
    reference: Sequence[Detections],
    quantized: Sequence[Detections],
    score_threshold: float = SCORE_THRESHOLD,
    *,
    names: Mapping[int, str] | None = None,
) -> Pairing:
    """Compare the detections of two models in the same pictures.

    Where the float model finds nothing above the threshold in any picture, half of its best score
    takes the threshold's place: what it is surest of is then compared all the same.

    Args:
        reference: What the float model finds in each picture, also what it is not sure of.
        quantized: What the quantized model finds, in the same pixels.
        score_threshold: Detections count when their score is greater.
        names: Names of classes.
    """
    used = usable_threshold(reference, score_threshold)
    pairs = [
        _paired(one, other, (used, used)) for one, other in zip(reference, quantized, strict=True)
    ]
    threshold = same_count_threshold(reference, quantized, used)
    at_threshold = None
    if not math.isnan(threshold):
        at_threshold = _counts(
            _together(
                [
                    _paired(one, other, (used, threshold))
                    for one, other in zip(reference, quantized, strict=True)
                ]
            )
        )
    every = _together(pairs)
    by_picture = [(index, _counts(pair).f1) for index, pair in enumerate(pairs)]
    return Pairing(
        used,
        used < score_threshold,
        _counts(every),
        threshold,
        at_threshold,
        _by_class(every, reference, quantized, used, names or {}),
        tuple(sorted((p for p in by_picture if not math.isnan(p[1])), key=lambda p: (p[1], p[0]))),
    )


def kept_pairs(reference: Detections, quantized: Detections) -> tuple[tuple[int, int, float], ...]:
    """Which boxes of both models in one picture are a pair, and by how much they overlap.

    Args:
        reference: What the float model finds above the threshold.
        quantized: What the quantized model finds above it.

    Returns:
        Index in each of the two, and the overlap.
    """
    wanted = _overlaps_within_classes(reference, quantized)
    first, second = (np.ones(len(found), np.bool_) for found in (reference, quantized))
    pairs = _one_to_one(wanted, first, second, (reference.scores, quantized.scores))
    return tuple((i, j, float(wanted[i, j])) for i, j in pairs)


def usable_threshold(reference: Sequence[Detections], score_threshold: float) -> float:
    """The threshold, or half of the best score where none is above it and that is no noise.

    Args:
        reference: Detections of the float model.
        score_threshold: What was asked for.
    """
    best = max((float(found.scores.max()) for found in reference if len(found)), default=0.0)
    return score_threshold if best > score_threshold or best < LEAST_SCORE else best / 2


def same_count_threshold(
    reference: Sequence[Detections], quantized: Sequence[Detections], score_threshold: float
) -> float:
    """The threshold at which the quantized model finds as many boxes, see ``Pairing.threshold``.

    Args:
        reference: Detections of the float model in each picture.
        quantized: Those of the quantized model.
        score_threshold: That of the float model.
    """
    return _same_count(_all_scores(reference)[1], _all_scores(quantized)[1], score_threshold)


def _same_count(
    reference: NDArray[np.float64], quantized: NDArray[np.float64], score_threshold: float
) -> float:
    count = int((reference > score_threshold).sum())
    best_first = -np.sort(-quantized)
    if count == 0 or len(best_first) < count:
        return math.nan
    last = float(best_first[count - 1])
    after = float(best_first[count]) if len(best_first) > count else 0.0
    return score_threshold if after <= score_threshold < last else (last + after) / 2


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The boxes of one picture above the thresholds, or of several classes of it.

    Attributes:
        labels: Class of each pair, then of each lost box, then of each new one.
        kinds: 0 of pairs, 1 of lost boxes, 2 of new ones.
        below: Whether a lost or new box is found by the other model below its threshold.
        iou: Overlap of a pair, else 0.
        shift: Quantized score minus float one of a pair, else 0.
    """

    labels: NDArray[np.int64]
    kinds: NDArray[np.int64]
    below: NDArray[np.bool_]
    iou: NDArray[np.float64]
    shift: NDArray[np.float64]

    def of(self, label: int) -> _Pairs:
        which = self.labels == label
        return _Pairs(
            self.labels[which],
            self.kinds[which],
            self.below[which],
            self.iou[which],
            self.shift[which],
        )


def _paired(reference: Detections, quantized: Detections, limits: tuple[float, float]) -> _Pairs:
    sure, sure_too = (
        found.scores > limit for found, limit in zip((reference, quantized), limits, strict=True)
    )
    wanted = _overlaps_within_classes(reference, quantized)
    order = (reference.scores, quantized.scores)
    kept = _one_to_one(wanted, sure, sure_too, order)
    lost, new = sure.copy(), sure_too.copy()
    lost[[i for i, _ in kept]] = False
    new[[j for _, j in kept]] = False
    unsure = _one_to_one(wanted, lost, ~sure_too, order)
    unsure_too = _one_to_one(wanted, ~sure, new, order)
    lost_below, new_below = np.zeros_like(lost), np.zeros_like(new)
    lost_below[[i for i, _ in unsure]] = True
    new_below[[j for _, j in unsure_too]] = True
    first, second = (np.array([pair[k] for pair in kept], np.int64) for k in (0, 1))
    rest = int(lost.sum() + new.sum())
    scores = quantized.scores[second].astype(np.float64) - reference.scores[first]
    return _Pairs(
        np.concatenate([reference.labels[first], reference.labels[lost], quantized.labels[new]]),
        np.repeat([0, 1, 2], [len(kept), int(lost.sum()), int(new.sum())]),
        np.concatenate([np.zeros(len(kept), np.bool_), lost_below[lost], new_below[new]]),
        np.concatenate([wanted[first, second], np.zeros(rest)]),
        np.concatenate([scores, np.zeros(rest)]),
    )


def _overlaps_within_classes(reference: Detections, quantized: Detections) -> Floats:
    """Overlap of every pair, 0 where the classes differ."""
    same = reference.labels[:, None] == quantized.labels[None, :]
    if reference.corners is None and reference.masks is None:
        return np.where(same, overlaps(reference, quantized), 0)
    wanted = np.zeros(same.shape)  # what takes longer is computed for those that can be pairs
    for label in np.intersect1d(reference.labels, quantized.labels):
        rows = np.flatnonzero(reference.labels == label)
        columns = np.flatnonzero(quantized.labels == label)
        wanted[np.ix_(rows, columns)] = overlaps(reference.take(rows), quantized.take(columns))
    return wanted


def _one_to_one(
    overlap: NDArray[np.floating],
    rows: NDArray[np.bool_],
    columns: NDArray[np.bool_],
    scores: tuple[NDArray[np.floating], NDArray[np.floating]],
) -> list[tuple[int, int]]:
    """Pairs of some rows and columns that overlap enough, the greatest overlap first.

    Of equal overlaps the greater scores come first, so that the order of the boxes is nothing.
    """
    i, j = np.nonzero((overlap >= LEAST_OVERLAP) & rows[:, None] & columns[None, :])
    best = np.lexsort((-scores[1][j], -scores[0][i], -overlap[i, j]))
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for row, column in zip(i[best].tolist(), j[best].tolist(), strict=True):
        if row not in taken[0] and column not in taken[1]:
            pairs.append((row, column))
            taken[0].add(row)
            taken[1].add(column)
    return pairs


def _together(pairs: Sequence[_Pairs]) -> _Pairs:
    """The boxes of all pictures."""
    nothing = _paired(_NOTHING, _NOTHING, (0, 0))
    arrays = {
        field.name: np.concatenate([getattr(pair, field.name) for pair in (nothing, *pairs)])
        for field in fields(_Pairs)
    }
    return _Pairs(**arrays)


def _counts(pairs: _Pairs) -> Counts:
    kinds, below = pairs.kinds, pairs.below
    kept, lost, new = (int((kinds == kind).sum()) for kind in (0, 1, 2))
    iou, shift = pairs.iou[kinds == 0], pairs.shift[kinds == 0]
    return Counts(
        float_boxes=kept + lost,
        kept=kept,
        lost=lost,
        lost_below=int(below[kinds == 1].sum()),
        new=new,
        new_below=int(below[kinds == 2].sum()),
        iou=float(iou.mean()) if kept else math.nan,
        shift_mean=float(shift.mean()) if kept else math.nan,
        shift_median=float(np.median(shift)) if kept else math.nan,
    )


def _by_class(
    pairs: _Pairs,
    reference: Sequence[Detections],
    quantized: Sequence[Detections],
    threshold: float,
    names: Mapping[int, str],
) -> tuple[ClassPairing, ...]:
    (labels, scores), (other_labels, other_scores) = map(_all_scores, (reference, quantized))
    return tuple(
        ClassPairing(
            label,
            names.get(label, str(label)),
            _counts(pairs.of(label)),
            _same_count(scores[labels == label], other_scores[other_labels == label], threshold),
        )
        for label in np.unique(pairs.labels).tolist()
    )


def _all_scores(
    detections: Sequence[Detections],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Classes and scores of the detections in all pictures."""
    labels = np.concatenate([np.zeros(0, np.int64), *(found.labels for found in detections)])
    scores = np.concatenate([np.zeros(0), *(found.scores for found in detections)])
    return labels, scores.astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
