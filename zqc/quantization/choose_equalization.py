"""Which form of an equalized model loses least when it is quantized: each is tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.calibration.calibrate import Ranges, calibrate
from zqc.detection.agreement import PartAgreement, output_agreement
from zqc.pictures.batches import Batches
from zqc.progress import Progress, Task
from zqc.quantization import quantize
from zqc.quantization.equalize import Equalized
from zqc.quantization.prepare import points_of
from zqc.quantization.scale_outputs import scale_outputs
from zqc.recipe.recipe import Recipe

Means = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Calibrated:
    """A float model that is ready to be quantized.

    Attributes:
        equalized: What became of its channels.
        model: The model, with steps of their own for the channels of its outputs.
        ranges: What calibration found out about it.
        means: The means that its biases are corrected with.
    """

    equalized: Equalized
    model: ir.Model
    ranges: Ranges
    means: Means


def calibrate_best(
    forms: Sequence[Equalized],
    recipe: Recipe,
    kept: Collection[str],
    batches: Batches,
    means_of: Callable[[Ranges, Equalized], Means],
    *,
    pictures: int,
    progress: Progress,
    threads: int | None,
) -> Calibrated:
    """Calibrate every form, and return the one whose outputs suffer least from quantization.

    The error of the outputs over the calibration pictures decides between several forms. All
    pictures take part: a power-of-two threshold that falls on the other side is another network.

    Args:
        forms: One function each; of equally good ones the first is taken.
        recipe: How they are quantized.
        kept: Names of nodes that stay float.
        batches: The calibration pictures.
        means_of: The means that biases are corrected with.
        pictures: How many there are.
        progress: Where long work reports to.
        threads: Threads of ONNX Runtime.

    Raises:
        ZqcError: See ``zqc.calibration.calibrate.calibrate``.
    """

    def calibrated(form: Equalized, task: Task) -> Calibrated:
        model = scale_outputs(form.model, recipe, kept, batches, threads=threads)
        points = points_of(model, recipe, kept)
        ranges = calibrate(
            model, points, batches, recipe, pictures=pictures, task=task, threads=threads
        )
        return Calibrated(form, model, ranges, means_of(ranges, form))

    def error(found: Calibrated, task: Task) -> float:
        quantized = quantize.quantize(found.model, found.ranges, recipe, kept, means=found.means)
        # Not every canonical model is one that ONNX Runtime can run.
        lowered = quantize.lower(quantized, recipe)
        return output_error(
            output_agreement(forms[0].model, lowered, batches, task=task, threads=threads)
        )

    several = len(forms) > 1
    with progress.task("Calibrating", pictures * len(forms) * (1 + several)) as task:
        every = (calibrated(form, task) for form in forms)
        return min(every, key=partial(error, task=task)) if several else next(every)


def output_error(parts: Sequence[PartAgreement]) -> float:
    """Σ (float − quantized)² / Σ float² of every part of the outputs, summed over the parts."""
    return sum(10 ** (-part.sqnr_db / 10) for part in parts)
