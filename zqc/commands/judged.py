"""The verdict on what was compiled, on the pictures that it was calibrated with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.commands.detector import Detector
from zqc.detection.agreement import PartAgreement, output_error
from zqc.detection.average_precision import Accuracy, agreement
from zqc.detection.comparison import Comparison, compare
from zqc.detection.conventions.convention import Outputs
from zqc.detection.pairing import Pairing, pair_detections
from zqc.detection.verdict import Evidence, Verdict, judge
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.images import ImageSet
from zqc.progress import Task
from zqc.runtime import extras, session

_BATCH = 8
_POINTS = 0.05


@dataclass(frozen=True, eq=False)
class Judged:
    """What is to be thought of a compiled model.

    Attributes:
        verdict: Without advice.
        detector: How detections are read from its outputs.
        seen: What both models detect in the pictures.
        agreement: AP of its detections against the float model's; None where there are none.
        pairing: How the detections of both pair; None without a known convention.
        parts: Agreement of its outputs.
    """

    verdict: Verdict
    detector: Detector
    seen: Comparison
    agreement: Accuracy | None
    pairing: Pairing | None
    parts: Sequence[PartAgreement] = ()


def judge_compiled(
    loaded: LoadedModel,
    content: bytes,
    pictures: ImageSet,
    parts: Sequence[PartAgreement],
    *,
    detector: Detector,
    real: bool,
    threads: int | None,
    task: Task,
) -> Judged:
    """Compare the detections of a written file with the float model's.

    Args:
        loaded: The float model.
        content: The file, as far as it can be run.
        pictures: What it was calibrated with.
        parts: Agreement of its outputs on them.
        detector: How detections are read from its outputs.
        real: Whether these are real pictures.
        threads: Threads of ONNX Runtime.
        task: Advanced by the number of pictures.

    Raises:
        ZqcError: A model cannot be run, or its outputs not be read.
    """
    if detector.convention is None:
        return Judged(
            judge(Evidence(parts, real)), detector, Comparison((), (), ()), None, None, parts
        )
    runners = [session.load(each, threads=threads) for each in (loaded.runnable(), content)]
    taken = loaded.interface.taken
    fixed = [runner.fixed_batch(taken.picture.name) for runner in runners]
    size = next(filter(None, fixed), None)  # a target may fix what the float model leaves open

    def run(tensors: NDArray[np.float32]) -> tuple[Outputs, Outputs]:
        count = len(tensors)
        filled = np.resize(tensors, (size or count, *tensors.shape[1:]))
        first, second = (
            {name: array[:count] if size else array for name, array in runner(feeds).items()}
            for runner, feeds in ((r, taken.feeds(filled)) for r in runners)
        )
        return first, second

    batches = pictures.placed_batches(size or _BATCH)
    seen = compare(run, batches, (), detector.convention, task=task)
    names = dict(enumerate(detector.names))
    pairing = pair_detections(seen.reference, seen.quantized, names=names)
    agreed = None
    if extras.installed(extras.COCO):
        agreed = agreement(
            seen.reference,
            seen.quantized,
            pairing.score_threshold,
            names=names,
            windows=seen.windows,
        )
    evidence = Evidence(
        parts,
        real,
        agreement=agreed,
        pairing=pairing,
        renamed=seen.renamed_classes(pairing.score_threshold, names),
    )
    return Judged(judge(evidence), detector, seen, agreed, pairing, parts)


def is_better(one: Judged, other: Judged) -> bool:
    """Whether one of two files is worth more bytes than the other.

    It is where its verdict is better, its detections agree by 5 points more, or, without
    detections, its outputs have half the error. Our choice.
    """
    words = ("broken", "usable with care", "good")
    first, second = (each.verdict.word for each in (one, other))
    if first in words and second in words and words.index(first) > words.index(second):
        return True
    if one.agreement is not None and other.agreement is not None:
        return one.agreement.ap > other.agreement.ap + _POINTS
    if one.agreement is not None or other.agreement is not None:
        return False
    return output_error(one.parts) < output_error(other.parts) / 2
