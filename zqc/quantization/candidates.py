"""Float models that are ready to be quantized: one, or several of which quantization chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from zqc.calibration.calibrate import Ranges, calibrate
from zqc.calibration.channel_moments import ChannelMoments
from zqc.calibration.second_moments import Fold, known_better
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.pictures.batches import Batches
from zqc.progress import Task
from zqc.quantization.equalize import Equalized
from zqc.quantization.prepare import points_of
from zqc.quantization.scale_outputs import scale_outputs
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import BiasCorrection


@dataclass(frozen=True)
class Candidate:
    """A float model that is ready to be quantized.

    Attributes:
        equalized: What became of its channels.
        model: The model, with scales of their own for the channels of its outputs.
        ranges: What calibration found out about it.
        means: The means that its biases are corrected with.
    """

    equalized: Equalized
    model: ir.Model
    ranges: Ranges
    means: Mapping[str, NDArray[np.float64]]

    def without_moments(self) -> Candidate:
        """The same without the second moments of the layers' inputs, which take most memory."""
        return replace(self, ranges=self.ranges.with_moments(()))

    def with_moments_of(self, plain: Candidate) -> Candidate:
        """The same with the moments of a form without factors: those of a channel times its own."""
        if self is plain:
            return self
        factors = {
            node.name or "": self.equalized.factors[name_of(node.inputs[0])]
            for node in weighted_layers(self.model.graph)
            if name_of(node.inputs[0]) in self.equalized.factors
        }
        folds = tuple(
            {n: m.scaled(factors[n]) if n in factors else m for n, m in fold.items()}
            for fold in plain.ranges.statistics.folds
        )
        return replace(self, ranges=self.ranges.with_moments(folds))


def calibrated(
    equalized: Equalized,
    plan: Plan,
    batches: Batches,
    means_from: BiasCorrection,
    analytic: Mapping[str, ChannelMoments],
    *,
    moments: bool = True,
    detector: DetectorLoss | None = None,
    task: Task,
) -> Candidate:
    """Calibrate one form of the model.

    Args:
        equalized: The form.
        plan: How it will be quantized.
        batches: The calibration set.
        means_from: Where the means come from that biases are corrected with, see ``means_source``.
        analytic: Moments of the float model by name of the tensor, where they are known.
        moments: Whether the second moments of what layers read are measured, which takes longest.
        detector: How the outputs are read, where that is known.
        task: Advanced by the number of pictures.

    Raises:
        ZqcError: See ``zqc.calibration.calibrate``.
    """
    model = scale_outputs(equalized.model, plan, batches)
    points = points_of(model, plan)
    ranges = calibrate(model, points, batches, plan, moments=moments, detector=detector, task=task)
    if means_from == "statistics":
        means = equalized.scaled({name: moments.mean for name, moments in analytic.items()})
        roots = {name: np.sqrt(moments.second_moment) for name, moments in analytic.items()}
        known = equalized.scaled(roots)
        folds = tuple(_corrected(model, fold, known) for fold in ranges.statistics.folds)
        ranges = ranges.with_moments(folds)
    else:
        means = ranges.means if means_from == "pictures" else {}
    return Candidate(equalized, model, ranges, means)


def _corrected(model: ir.Model, fold: Fold, roots: Mapping[str, NDArray[np.float64]]) -> Fold:
    """The moments of the layers' inputs as the statistics know them.

    Args:
        model: The model that the moments are of.
        fold: What calibration found out about it.
        roots: √E[x²] per channel, shape (C,), by name of the tensor, where it is known.
    """
    known = dict(fold)
    for node in weighted_layers(model.graph):
        moments, root = known.get(node.name or ""), roots.get(name_of(node.inputs[0]))
        if moments is None or root is None:
            continue
        if moments.mean.size % len(root) == 0:  # else the columns are no channels' own
            known[node.name or ""] = known_better(moments, root**2)
    return known


def means_source(asked: BiasCorrection, *, synthesised: bool) -> BiasCorrection:
    """What the bias correction knows means from, or begins with: ``auto`` is decided here.

    Synthesised pictures do not reach the means of the statistics everywhere; pictures of the user's
    own may come from elsewhere than the training pictures.

    Args:
        asked: What the recipe says.
        synthesised: Whether pictures were synthesised from statistics that are known.
    """
    if asked not in {"auto", "learned"}:
        return asked
    return "statistics" if synthesised else "pictures"
