"""What ``zqc check`` has found out of a quantized model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zqc.commands import advice, limits
from zqc.commands.detector import Detector
from zqc.commands.labelled import Labelled
from zqc.commands.pair import Pair
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy, agreement
from zqc.detection.bootstrap import Interval
from zqc.detection.comparison import Comparison, Renamed
from zqc.detection.pairing import Pairing, pair_detections
from zqc.detection.verdict import Evidence, Verdict, judge
from zqc.diagnosis.defects import Defect
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import InputFormat
from zqc.recipe.toml import to_toml
from zqc.report.printing import Printable
from zqc.runtime import extras
from zqc.statistics.input_choice import InputChoice

if TYPE_CHECKING:
    from zqc.commands.limits import Limit

_WORST = 12
"""Pictures that are named."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What a report draws of a comparison.

    Attributes:
        pictures: The pictures.
        input_format: From their pixels to input tensors.
        comparison: What both models find in them.
        truth: The labelled boxes, if there are any.
        path: Where the pictures are, if the user gave a path.
    """

    pictures: ImageSet
    input_format: InputFormat
    comparison: Comparison
    truth: Labelled | None
    path: Path | None = None


@dataclass(frozen=True)
class CheckResult(Printable):
    """The outcome of ``zqc.check``.

    Attributes:
        verdict: Whether the quantized model is still good.
        images: Number of pictures.
        pictures: Where they come from, in words.
        made_up: Whether they were synthesised, or are structured noise.
        input_choice: How pixels become input values.
        fit: How pictures of another size get into the input.
        parts: Agreement of the outputs, per part.
        detector: How detections are read from the outputs, or why they are not, in words.
        convention: Name of the recognised output convention; empty when there is none.
        classes: Names of the model's classes; empty where they are unknown.
        accuracy_float: Against the labels, when there are any.
        accuracy_quantized: Likewise.
        difference: Of the two, quantized minus float, with an interval.
        agreement: AP of the quantized model's detections against the float model's.
        pairing: How the detections of both models pair.
        worst: File name and F1 of the pictures in which they differ most.
        defects: Layers of which it is certain that no rounding made them what they are.
        not_compared: Outputs that ``parts`` says nothing of, by name, with why.
        notes: What should be known of the comparison.
        limits: What was demanded, and whether it holds.
        float_model: The float model's file.
        quantized: The quantized model's.
        precision: Such as ``w4a8``, where zqc has compiled it.
        target: What it was compiled for, likewise.
        recipe: What it was compiled with, as TOML, likewise.
        bytes_float: Size of the float model's file.
        bytes_quantized: Size of the quantized model's.
        shown: What a report draws.
    """

    text_by = ("zqc.report.check_text", "checked")

    verdict: Verdict
    images: int
    pictures: str
    made_up: bool
    input_choice: InputChoice
    fit: str
    parts: tuple[PartAgreement, ...]
    detector: str = ""
    convention: str = ""
    classes: tuple[str, ...] = ()
    accuracy_float: Accuracy | None = None
    accuracy_quantized: Accuracy | None = None
    difference: Interval | None = None
    agreement: Accuracy | None = None
    pairing: Pairing | None = None
    worst: tuple[tuple[str, float], ...] = ()
    defects: tuple[Defect, ...] = ()
    not_compared: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    float_model: str = ""
    quantized: str = ""
    precision: str = ""
    target: str = ""
    recipe: str = ""
    bytes_float: int = 0
    bytes_quantized: int = 0
    shown: Shown | None = field(default=None, repr=False, compare=False, metadata={"json": False})

    @property
    def passed(self) -> bool:
        """Whether everything that was demanded holds."""
        return all(limit.met for limit in self.limits)


def result_of(
    pair: Pair,
    detector: Detector,
    shown: Shown,
    *,
    choice: InputChoice,
    fit: str,
    real: bool,
    odd: tuple[Defect, ...],
    saturated: str,
    demanded: tuple[float | None, float | None],
) -> CheckResult:
    """Judge what a comparison showed, and put it together.

    Args:
        pair: The models.
        detector: How their outputs are read.
        shown: What was compared.
        choice: How pixels become input values.
        fit: How pictures of another size get into the input; empty where they were made for it.
        real: Whether the pictures are real.
        odd: Layers that are out of order.
        saturated: What the kernels of this processor cost; empty where they cost nothing.
        demanded: The least agreement in percent, the greatest drop in points.

    Raises:
        LabelError: The labels leave nothing to measure.
    """
    seen, truth, names = shown.comparison, shown.truth, dict(enumerate(detector.names))
    pairing, agreed, notes = None, None, list(pair.doubts())
    renamed: tuple[Renamed, ...] = ()
    if detector.convention is not None:
        pairing = pair_detections(seen.reference, seen.quantized, names=names)
        if extras.installed(extras.COCO):
            least = pairing.score_threshold
            agreed = agreement(
                seen.reference, seen.quantized, least, names=names, windows=seen.windows
            )
        else:
            notes.append(str(extras.missing(extras.COCO, "comparing detections by AP")))
        renamed = seen.renamed_classes(pairing.score_threshold, names)
        if pairing.lowered:
            notes.append(
                f"the float model has no score above 0.3 in these pictures: detections above "
                f"{pairing.score_threshold:.3g} are compared"
            )
    accuracy = None if truth is None else truth.accuracy(seen)
    notes += () if truth is None else truth.notes
    notes += (saturated,) if saturated else ()
    verdict = judge(
        Evidence(
            seen.parts,
            real=real,
            agreement=agreed,
            pairing=pairing,
            renamed=renamed,
            mislabelled=() if truth is None else truth.mislabelled(seen, names),
            defects=[f"layer {one.layer}: {one.reason}" for one in odd],
            labelled=None if accuracy is None else accuracy[:2],
        )
    )
    command = advice.after_check(
        verdict,
        pair,
        real=real,
        faulty=bool(renamed or odd),
        saturated=bool(saturated),
        anchors=detector.facts.anchors_path,
        images=shown.path,
    )
    worst = () if pairing is None else pairing.pictures[:_WORST]
    return CheckResult(
        verdict=replace(verdict, advice=command),
        images=len(shown.pictures),
        pictures=shown.pictures.source,
        made_up=not real,
        input_choice=choice,
        fit=fit,
        parts=seen.parts,
        detector=detector.text,
        convention="" if detector.convention is None else detector.convention.name,
        classes=detector.names,
        accuracy_float=None if accuracy is None else accuracy[0],
        accuracy_quantized=None if accuracy is None else accuracy[1],
        difference=None if accuracy is None else accuracy[2],
        agreement=agreed,
        pairing=pairing,
        worst=tuple((shown.pictures.names[index], f1) for index, f1 in worst),
        defects=odd,
        not_compared=tuple({**pair.second.left, **pair.first.left}.items()),
        notes=tuple(notes),
        limits=limits.measured(demanded, agreed, None if accuracy is None else accuracy[:2]),
        float_model=str(pair.first.path),
        quantized=str(pair.second.path),
        precision="" if pair.recipe is None else pair.recipe.precision,
        target="" if pair.recipe is None else pair.recipe.target,
        recipe="" if pair.recipe is None else to_toml(pair.recipe),
        bytes_float=pair.first.path.stat().st_size,
        bytes_quantized=pair.second.path.stat().st_size,
        shown=shown,
    )
