"""What weights are predicted to lose, layer by layer, and what real pictures say of it.

    python -m tools.study.predicted_losses MODELS PICTURES [--detectors yolov3] [--bits 3]

MODELS and PICTURES are as in ``tools.study.calibration_sources``. Bits by layer are chosen by these
predictions. The weights of every layer are rounded with compensation, with so many bits, for the
calibration set of quick effort. The columns are the loss of the outputs
(``zqc.mixed_precision.losses``), in units of 10⁻⁴, by the second moments of

- ``own``: the same pictures;
- ``other``: rounded for the structured noise alone, judged by the synthesised pictures: what zqc
  goes by;
- ``real``: rounded for the calibration set, judged by the real pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from unittest.mock import patch

import click
import numpy as np

import zqc
from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from passes.layers import layer_of
from tools.study.cases import Case, chooses_cases
from zqc import pipeline
from zqc.calibration.collect import collect
from zqc.calibration.second_moments import Fold, Moments
from zqc.calibration.sensitivity import sensitivities
from zqc.mixed_precision.losses import Losses, weight_losses
from zqc.pictures.batches import SENSITIVITY_PICTURES, Batches
from zqc.pictures.images import open_images
from zqc.pictures.model_input import picture_shape
from zqc.progress import Silent
from zqc.quantization.candidates import Candidate
from zqc.recipe.plan import Plan

_SAMPLES = 32768
_PICTURES = 32


@click.command(context_settings={"show_default": True})
@chooses_cases()
@click.option("--bits", default=3, help="Of the weights.")
@click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
def main(cases: Sequence[Case], bits: int, threads: int | None) -> None:
    """Print one table per detector."""
    for case in cases:
        print(f"\n**{case.name}**\n\n| layer | weights | own | other | real |")
        print("|---|---|---|---|---|")
        for line in _table(case, bits, threads):
            print(f"| {line} |", flush=True)


def _table(case: Case, bits: int, threads: int | None) -> list[str]:
    candidate, plan, batches = _calibrated(case, threads)
    model = candidate.model
    layers = {n.name or "": n for n in weighted_layers(model.graph)}
    folds = candidate.ranges.statistics.folds
    whole = _whole(folds)
    found = sensitivities(
        model, (), batches.first(SENSITIVITY_PICTURES), seed=plan.recipe.seed, threads=threads
    )

    def losses(*judge_first: Fold) -> Losses:
        return weight_losses(
            model,
            dict.fromkeys(layers, (bits,)),
            candidate.ranges.grids,
            replace(candidate.ranges.statistics, folds=judge_first),
            found,
            compensate=True,
            second_moments=False,
            corrected=True,
            per_tensor=plan.target.per_tensor,
            log_affine=plan.recipe.log_affine,
        )

    own, other, real = losses(whole), losses(*folds), losses(_real(case, candidate, threads), whole)
    lines = []
    for name in own:
        layer = layer_of(layers[name])
        size = 0 if layer is None else layer.weight.size
        values = (f"{1e4 * of[name][bits]:.1f}" for of in (own, other, real))
        lines.append(" | ".join([name, f"{size:,}", *values]))
    return lines


class _Stop(Exception):
    """Nothing more is wanted of a compilation."""


def _calibrated(case: Case, threads: int | None) -> tuple[Candidate, Plan, Batches]:
    """What a compilation chooses bits for."""
    seen: list[tuple[Candidate, Plan, Batches]] = []

    def stop(
        candidate: Candidate, _loaded: object, plan: Plan, batches: Batches, **_: object
    ) -> None:
        seen.append((candidate, plan, batches))
        raise _Stop

    recipe = case.recipe(bits=4, effort="quick")
    with patch.object(pipeline, "chosen_bits", stop), suppress(_Stop):
        zqc.compile(case.model, "unused.onnx", recipe=recipe, threads=threads)
    return seen[0]


def _whole(folds: tuple[Fold, ...]) -> Fold:
    """All folds as one."""
    return {name: Moments.together([fold[name] for fold in folds]) for name in folds[0]}


def _real(case: Case, candidate: Candidate, threads: int | None) -> Fold:
    """Moments over the real pictures, as they are."""
    model = candidate.model
    channels, height, width = picture_shape(model)
    every = open_images(
        case.pictures,
        channels=channels,
        height=height,
        width=width,
        input_format=case.input_format,
    )
    chosen = np.linspace(0, len(every) - 1, min(_PICTURES, len(every))).astype(int)
    pictures = [every.read(i, i + 1)[0] for i in chosen]
    read = list(dict.fromkeys(name_of(n.inputs[0]) for n in weighted_layers(model.graph)))
    tensors = [name for name in read if name in candidate.ranges.grids]
    samples = max(_SAMPLES // len(pictures), 16)
    with Silent().task("", 0) as task:
        seen = collect(model, tensors, [pictures], samples=samples, task=task, threads=threads)
    return _whole(seen.folds)


if __name__ == "__main__":
    main()
