"""Whether a quantized model is still good, in a word, and why.

The rules, in this order; the first that holds decides. What they are worth is measured on pairs of
models in ``docs/results/detectors.md``; the limits are our choice.

1. *broken*: a layer computes something else than the float model's (``defects``).
2. *broken*: the scores have next to no distinct values left, so that they share a scale with
   something larger, or are all the same.
3. *broken*: the boxes of a class come out as another one (``renamed_classes``).
4. With labels: *broken* where average precision is less than half of the float model's, *good*
   where it lost at most 2 points. Where the float model itself finds next to nothing of what is
   labelled, or finds the boxes of a class as another one, labels or input are wrong, and nothing
   is said.
5. On real pictures, *broken*: a class of which the float model finds 10 boxes or more is lost.
6. By the average precision of the detections, with the float model's in the place of labels:
   *good* from 0.95, *broken* below 0.5. Pictures that were made up tell the two apart less well:
   *good* from 0.9, *broken* below 0.6, set by three detectors. Average precision asks for the
   order of scores alone, so that scores which have all fallen do not show: F1 at the float model's
   threshold must be 0.5 for *good*, and *broken* is below 0.25 of 10 boxes or more. Where average
   precision cannot be measured, F1 stands in for it: *good* from 0.03 less.
7. Where there are no detections to compare, by the part of the outputs with the least SQNR: *good*
   from 22 dB, *broken* below 5 dB.

What is neither good nor broken is *usable with care*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy
from zqc.detection.comparison import Renamed
from zqc.detection.pairing import Pairing

Word = Literal["good", "usable with care", "broken", "not judged"]

FEW_VALUES = 16
MANY_VALUES = 256
HALF = 0.5
POINTS = 0.02
NOTHING = 0.05
FEWEST_BOXES = 10
LOST_CLASS = 0.25
LOST_BOXES = 0.25
F1_BELOW_AP = 0.03
RENAMED_SHOWN = 2
REAL_LIMITS = (0.95, 0.5)
MADE_LIMITS = (0.9, 0.6)
PART_LIMITS = (22.0, 5.0)


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a quantized model.

    Attributes:
        word: The verdict.
        reason: Why, in one line.
        advice: The command that helps most; empty where none is needed.
    """

    word: Word
    reason: str
    advice: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a comparison with the float model has shown.

    Attributes:
        parts: Agreement of the outputs, part by part.
        real: Whether the pictures are real; else they were synthesised, or are noise.
        agreement: Average precision of the detections against the float model's; None where no
            detections are known, or the float model has none.
        pairing: How the detections of both pair; None likewise.
        renamed: Classes whose boxes come out as another class.
        mislabelled: Classes of the labels that the float model finds under another name.
        labelled: Average precision of the float and the quantized model against labels.
        defects: Layers that compute something else than the float model's, with what, worst first.
    """

    parts: Sequence[PartAgreement]
    real: bool
    agreement: Accuracy | None = None
    pairing: Pairing | None = None
    renamed: Sequence[Renamed] = ()
    labelled: tuple[Accuracy, Accuracy] | None = None
    mislabelled: Sequence[Renamed] = ()
    defects: Sequence[str] = ()


def judge(evidence: Evidence) -> Verdict:
    """Judge by the rules at the top of this module; the advice is left to the commands."""
    for rule in (_defects, _dead_scores, _renamed, _labels, _lost_class, _detections, _parts):
        verdict = rule(evidence)
        if verdict is not None:
            return verdict
    return Verdict("not judged", "nothing of the outputs could be compared")


def _defects(evidence: Evidence) -> Verdict | None:
    if not evidence.defects:
        return None
    more = len(evidence.defects) - 1
    others = f", and {more} more" if more else ""
    return Verdict("broken", f"{evidence.defects[0]}{others}")


def _dead_scores(evidence: Evidence) -> Verdict | None:
    for part in evidence.parts:
        few = part.distinct <= 1 or part.distinct <= FEW_VALUES < MANY_VALUES <= part.distinct_float
        if part.kind == "scores" and not part.not_compared and few and part.distinct_float > 1:
            said = (
                "every score is the same, so it finds nothing"
                if part.distinct <= 1
                else f"the scores have only {part.distinct} distinct values"
            )
            return Verdict("broken", f"{said} (float {part.distinct_float:,})")
    return None


def _renamed(evidence: Evidence) -> Verdict | None:
    if not evidence.renamed:
        return None
    shown = (
        f"{one.boxes} of {one.of} boxes of class {one.name} come out as {one.other}"
        for one in evidence.renamed[:RENAMED_SHOWN]
    )
    more = len(evidence.renamed) - RENAMED_SHOWN
    others = f"; {more} more class{'es' * (more > 1)} likewise" if more > 0 else ""
    return Verdict("broken", "; ".join(shown) + others)


def _labels(evidence: Evidence) -> Verdict | None:
    if evidence.labelled is None:
        return None
    if evidence.mislabelled:
        first = evidence.mislabelled[0]
        return Verdict(
            "not judged",
            f"the float model finds {first.boxes} of {first.of} labelled boxes of class "
            f"{first.name} as {first.other}; see that labels and model mean the same by their "
            "classes (--names)",
        )
    before, after = (each.ap for each in evidence.labelled)
    said = f"mAP {100 * before:.1f} → {100 * after:.1f} against the labels"
    if before < NOTHING:
        return Verdict(
            "not judged",
            f"{said}: the float model itself finds next to nothing of what is labelled; see that "
            "the labels belong to these pictures and that the input line is right",
        )
    if after < HALF * before:
        return Verdict("broken", said)
    if lost := _lost_class(evidence):
        return lost
    return Verdict("good" if before - after <= POINTS else "usable with care", said)


def _lost_class(evidence: Evidence) -> Verdict | None:
    if not evidence.real or evidence.pairing is None or _low(evidence):
        return None
    lost = [
        one
        for one in evidence.pairing.classes
        if one.counts.float_boxes >= FEWEST_BOXES and one.counts.f1 < LOST_CLASS
    ]
    if not lost:
        return None
    worst = min(lost, key=lambda one: one.counts.f1)
    return Verdict(
        "broken",
        f"of {worst.counts.float_boxes} boxes of class {worst.name} it keeps {worst.counts.kept}",
    )


def _detections(evidence: Evidence) -> Verdict | None:
    if evidence.pairing is None or not evidence.pairing.counts.float_boxes:
        return None
    good, broken = REAL_LIMITS if evidence.real else MADE_LIMITS
    counts, f1 = evidence.pairing.counts, evidence.pairing.counts.f1
    agreed, measure = f1, "F1"
    if evidence.agreement is None:
        good -= F1_BELOW_AP
    else:
        agreed, measure = evidence.agreement.ap, "AP"
    said = (
        f"its detections agree with the float model's to {100 * agreed:.1f} % ({measure}); of "
        f"{counts.float_boxes} boxes it loses {counts.lost}, and it adds {counts.new}"
    )
    if not evidence.real:
        said += ", on pictures that were made up"
    if counts.float_boxes < FEWEST_BOXES:
        said += "; so few say little"
    if agreed < broken or (f1 < LOST_BOXES and counts.float_boxes >= FEWEST_BOXES):
        return Verdict("broken", said)
    return Verdict("good" if agreed >= good and f1 >= HALF else "usable with care", said)


def _parts(evidence: Evidence) -> Verdict | None:
    compared = [
        part for part in evidence.parts if not part.not_compared and not math.isnan(part.sqnr_db)
    ]
    if not compared:
        return None
    worst = min(compared, key=lambda part: part.sqnr_db)
    good, broken = PART_LIMITS
    least = f"{worst.sqnr_db:.1f}".replace("inf", "∞")
    said = f"no detections to compare; the least SQNR is {least} dB, of {worst.part}"
    if worst.sqnr_db < broken:
        return Verdict("broken", said)
    return Verdict("good" if worst.sqnr_db >= good else "usable with care", said)


def _low(evidence: Evidence) -> bool:
    """Whether all detections are lost, so that no single class need be named."""
    return evidence.agreement is not None and evidence.agreement.ap < REAL_LIMITS[1]
