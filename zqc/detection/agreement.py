"""Agreement of a quantized output with the float one, summed up batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.parts import OutputPart, output_parts
from zqc.pictures.model_input import input_name
from zqc.progress import Task
from zqc.runtime import session

DISTINCT_LIMIT = 65536  # every 16-bit grid fits; a float tensor soon reaches it


@dataclass
class _Distinct:
    """Counts distinct values up to ``DISTINCT_LIMIT``, so that memory stays bounded."""

    values: NDArray[np.generic] | None = None

    @property
    def count(self) -> int:
        return 0 if self.values is None else len(self.values)

    def add(self, values: NDArray[np.generic]) -> None:
        if self.count >= DISTINCT_LIMIT:
            return
        new = np.unique(values)
        both = new if self.values is None else np.union1d(self.values, new)
        self.values = both[:DISTINCT_LIMIT]


@dataclass
class AgreementMeter:
    """Accumulates the agreement of one part of the outputs over any number of batches.

    Means and co-moments are merged batch by batch (Chan, Golub & LeVeque 1983), so that large
    offsets, such as boxes in pixels, do not cost precision.

    Attributes:
        part: Name of the part.
        kind: What its numbers are.
    """

    part: str
    kind: Literal["boxes", "scores", "raw"]
    _differs: str = ""
    _equal: int = 0
    _numbers: bool = True
    _apart: bool = False
    _count: int = 0
    _signal: float = 0.0
    _noise: float = 0.0
    _mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    _moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 2)))
    _float: _Distinct = field(default_factory=_Distinct)
    _quantized: _Distinct = field(default_factory=_Distinct)

    def update(self, reference: NDArray[np.generic], quantized: NDArray[np.generic]) -> None:
        """Add the values of a batch: the float model's and the quantized model's.

        Two shapes that differ, as the number of instances behind an NMS may, cannot be compared
        row by row: then nothing is said of the part, whatever the other batches are like. NaN and
        infinity, as in masks, are compared by where they are.
        """
        if reference.shape != quantized.shape:
            self._differs = self._differs or (
                f"the float model gives {_sizes(reference)}, the quantized one {_sizes(quantized)}"
            )
            return
        if reference.size == 0:
            return
        self._numbers = np.issubdtype(reference.dtype, np.floating)
        if not self._numbers:
            self._equal += int((reference == quantized).sum())
            self._count += reference.size
            return
        self._float.add(reference)
        self._quantized.add(quantized)
        pair = np.stack([reference.reshape(-1), quantized.reshape(-1)]).astype(np.float64)
        finite = np.isfinite(pair)
        self._apart = self._apart or bool((finite[0] != finite[1]).any())
        pair = pair[:, finite.all(axis=0)]
        if pair.size == 0:
            return
        self._signal += float(np.square(pair[0]).sum())
        self._noise += float(np.square(pair[0] - pair[1]).sum())
        new = pair.shape[1]
        mean = pair.mean(axis=1)
        centred = pair - mean[:, None]
        shift = mean - self._mean
        total = self._count + new
        self._moments += centred @ centred.T + np.outer(shift, shift) * self._count * new / total
        self._mean += shift * new / total
        self._count = total

    def result(self) -> PartAgreement:
        """Return the agreement so far.

        A perfect match has an SQNR of +∞ dB, an all-zero reference with any noise −∞. Of a part
        that is one number everywhere a match says nothing, and its correlation is 0 otherwise.
        ``distinct`` stops counting at ``DISTINCT_LIMIT``. Of integers, truth values and strings it
        says which share is equal, and of a part that was never compared nothing but why.
        """
        why = self._differs or (
            "" if self._count or self._apart else "it has no numbers on these pictures"
        )
        if (
            self._numbers
            and not self._apart
            and self._noise == 0
            and self._count > 1 == self._float.count
        ):
            why = why or "it is one number everywhere, whatever the picture, in both models"
        if why or not self._numbers:
            share = math.nan if why else self._equal / self._count
            return PartAgreement(self.part, self.kind, math.nan, math.nan, 0, 0, share, why)
        return PartAgreement(
            part=self.part,
            kind=self.kind,
            sqnr_db=self._sqnr(),
            correlation=self._correlation(),
            distinct=self._quantized.count,
            distinct_float=self._float.count,
        )

    def _sqnr(self) -> float:
        if self._apart:
            return -math.inf
        if self._noise == 0:
            return math.inf
        return 10 * math.log10(self._signal / self._noise) if self._signal > 0 else -math.inf

    def _correlation(self) -> float:
        if self._noise == 0 and not self._apart:
            return 1.0
        spread = math.sqrt(self._moments[0, 0]) * math.sqrt(self._moments[1, 1])
        return float(np.clip(self._moments[0, 1] / spread, -1, 1)) if spread > 0 else 0.0


@dataclass(frozen=True)
class OutputsMeter:
    """Accumulates the agreement of all outputs, part by part.

    Attributes:
        parts: The parts of the outputs.
        meters: One for each.
    """

    parts: tuple[OutputPart, ...]
    meters: tuple[AgreementMeter, ...]

    @classmethod
    def of(cls, parts: tuple[OutputPart, ...]) -> OutputsMeter:
        """Make one for the parts of a model's outputs (``output_parts``)."""
        return cls(parts, tuple(AgreementMeter(part.name, part.kind) for part in parts))

    def update(
        self,
        reference: Mapping[str, NDArray[np.generic]],
        quantized: Mapping[str, NDArray[np.generic]],
    ) -> None:
        """Add the outputs of a batch by name.

        See ``AgreementMeter.update`` for outputs of different shapes.
        """
        for meter, part in zip(self.meters, self.parts, strict=True):
            expected, got = reference[part.output], quantized[part.output]
            if expected.shape == got.shape:
                expected, got = part.values(expected), part.values(got)
            meter.update(expected, got)

    def results(self) -> tuple[PartAgreement, ...]:
        """Return the agreement of every part so far."""
        return tuple(meter.result() for meter in self.meters)


@dataclass(frozen=True)
class PartAgreement:
    """How close one part of the outputs is to the float model's.

    Attributes:
        part: ``boxes``, ``scores`` or the name of the output.
        kind: What the numbers of the part are.
        sqnr_db: 10·log10(Σ float² / Σ (float − quantized)²) in dB.
        correlation: Pearson correlation with the float values.
        distinct: Number of distinct values in the quantized part.
        distinct_float: The same for the float model.
        equal: Share of equal values, of a part that is no floating-point numbers; else NaN, as
            ``sqnr_db`` and ``correlation`` are here.
        not_compared: Why the part could not be compared; empty where it was.
    """

    part: str
    kind: Literal["boxes", "scores", "raw"]
    sqnr_db: float
    correlation: float
    distinct: int
    distinct_float: int
    equal: float = math.nan
    not_compared: str = ""


def output_agreement(
    model: ir.Model,
    quantized: Sequence[ir.Model | bytes],
    batches: Iterable[NDArray[np.float32]],
    *,
    feeds: Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.generic]]] | None = None,
    task: Task,
    threads: int | None,
) -> tuple[tuple[PartAgreement, ...], ...]:
    """Compare every part of the outputs of some models with those of one float model.

    The float model runs once, however many are compared with it.

    Args:
        model: A float model.
        quantized: Models with the same outputs, or their files.
        batches: Input tensors (N, C, H, W).
        feeds: Makes the inputs of ``quantized`` from one; the same input by default.
        task: Advanced by the number of pictures.
        threads: Threads of ONNX Runtime.

    Returns:
        The parts of each model's outputs.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    source, parts = input_name(model), output_parts(model)
    reference = session.load(model, threads=threads)
    runners = [session.load(each, threads=threads) for each in quantized]
    meters = [OutputsMeter.of(parts) for _ in quantized]
    for batch in batches:
        expected = reference({source: batch})
        for runner, meter in zip(runners, meters, strict=True):
            meter.update(expected, runner(feeds(batch) if feeds else {source: batch}))
        task.advance(steps=len(batch))
    return tuple(meter.results() for meter in meters)


def output_error(parts: Sequence[PartAgreement]) -> float:
    """Σ (float − quantized)² / Σ float² of every part of the outputs, summed over the parts.

    Of integers and the like, it is the share that differs; what was not compared counts nothing.
    """
    compared = [part for part in parts if not part.not_compared]
    return sum(
        10 ** (-part.sqnr_db / 10) if math.isnan(part.equal) else 1 - part.equal
        for part in compared
    )


def _sizes(array: NDArray[np.generic]) -> str:
    return "×".join(map(str, array.shape)) or "one value"
