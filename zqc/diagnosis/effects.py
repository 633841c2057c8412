"""What a change of a model does to boxes, scores and detections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.agreement import OutputsMeter, PartAgreement
from zqc.detection.average_precision import agreement
from zqc.detection.parts import OutputPart
from zqc.diagnosis.variants import Quantizable, Variant
from zqc.pictures.model_input import input_name
from zqc.runtime import extras, session

if TYPE_CHECKING:
    from zqc.detection.conventions.convention import Convention
    from zqc.detection.detections import Detections

Outputs = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Effect:
    """How near the outputs of a model come to those of the float model.

    Attributes:
        boxes_db: SQNR of the boxes in dB, ∞ where nothing differs; NaN where no output is known to
            be boxes.
        scores_db: Of the scores, likewise.
        other_db: Of all outputs that are neither.
        agreement: AP of its detections against those of the float model, 0…1; NaN where the
            detections are not known, or there are none.
    """

    boxes_db: float = math.nan
    scores_db: float = math.nan
    other_db: float = math.nan
    agreement: float = math.nan

    @property
    def error(self) -> float:
        """Noise over signal, summed over boxes, scores and the rest, as far as there are any."""
        parts = (self.boxes_db, self.scores_db, self.other_db)
        return sum(10 ** (-db / 10) for db in parts if not math.isnan(db))

    @classmethod
    def of(cls, parts: Sequence[PartAgreement], found: float = math.nan) -> Effect:
        """Sum up the parts of the outputs: of several of a kind, the mean error counts."""
        return cls(
            boxes_db=_decibels([part for part in parts if part.kind == "boxes"]),
            scores_db=_decibels([part for part in parts if part.kind == "scores"]),
            other_db=_decibels([part for part in parts if part.kind == "raw"]),
            agreement=found,
        )


@dataclass(frozen=True, eq=False)
class Bench:
    """What models are evaluated on; it can be sent to other processes.

    Attributes:
        batches: Input tensors (N, C, H, W).
        expected: The outputs of the float model, for each batch.
        parts: The parts of the outputs.
        convention: How detections are read from the outputs, if that is known.
        found: The float model's detections, picture by picture.
    """

    batches: tuple[NDArray[np.float32], ...] = field(repr=False)
    expected: tuple[Outputs, ...] = field(repr=False)
    parts: tuple[OutputPart, ...] = field(repr=False)
    convention: Convention | None = None
    found: tuple[Detections, ...] = ()

    @classmethod
    def of(
        cls,
        model: ir.Model,
        batches: Sequence[NDArray[np.float32]],
        parts: tuple[OutputPart, ...],
        convention: Convention | None = None,
        *,
        threads: int | None = None,
    ) -> Bench:
        """Run a float model once over pictures, as it is written.

        Raises:
            RuntimeFailure: ONNX Runtime failed.
        """
        runner = session.load(model, threads=threads, optimize=False)
        expected = [runner({input_name(model): batch}) for batch in batches]
        return replace(cls.expecting(expected, parts, convention), batches=tuple(batches))

    @classmethod
    def expecting(
        cls,
        expected: Sequence[Outputs],
        parts: tuple[OutputPart, ...],
        convention: Convention | None = None,
    ) -> Bench:
        """Compare with outputs that are known; without the package for it, no detections."""
        if not extras.installed(extras.COCO):
            convention = None
        found: list[Detections] = []
        for outputs in expected if convention is not None else ():
            assert convention is not None
            found += convention.decode(outputs)
        return cls((), tuple(expected), parts, convention, tuple(found))

    def effect(self, model: ir.Model) -> Effect:
        """Run another model, on one thread, and compare.

        Raises:
            RuntimeFailure: ONNX Runtime failed.
        """
        runner = session.load(model, threads=1, optimize=False)
        source = input_name(model)
        return self.compared([runner({source: batch}) for batch in self.batches])

    def compared(self, outputs: Sequence[Outputs]) -> Effect:
        """Compare outputs, batch by batch, with those of the float model."""
        meter = OutputsMeter.of(self.parts)
        found: list[Detections] = []
        for expected, got in zip(self.expected, outputs, strict=True):
            meter.update(expected, got)
            if self.convention is not None:
                found += self.convention.decode(got)
        accuracy = None if self.convention is None else agreement(self.found, found)
        return Effect.of(meter.results(), math.nan if accuracy is None else accuracy.ap)


def effects_of(subject: Quantizable, bench: Bench, variants: Sequence[Variant]) -> list[Effect]:
    """Evaluate variants one after another: a piece of work that can be done anywhere.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    return [bench.effect(subject.variant(variant)) for variant in variants]


def _decibels(parts: Sequence[PartAgreement]) -> float:
    errors = [
        1 - part.equal if not math.isnan(part.equal) else 10 ** (-part.sqnr_db / 10)
        for part in parts
        if not part.not_compared
    ]
    if not errors:
        return math.nan
    mean = sum(errors) / len(errors)
    return math.inf if mean == 0 else -10 * math.log10(mean)
