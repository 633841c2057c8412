"""What each part of the synthesis is worth: the ablation table of docs/results/calibration.md.

    python -m tools.study.synthesis [--samples 128] [--steps 200] [--seeds 3] [--rows 'joint*']
    python -m tools.study.synthesis --convergence

Each row is one way to make the pictures of the example detector; the next group of rows builds on
the one before. ``loss`` is that of the finished pictures over the whole set, with the same terms
and weights in every row, whatever the row optimises. Every cell of the bit widths is the COCO mAP
(0.50:0.95, in percent) on the 200 held-out scenes; ``seconds`` are those of making the pictures.
Real scenes and uniform noise are there to compare with.

With ``--convergence`` it prints the loss over the whole set, step by step, of the same first
pictures optimised jointly and in batches of their own: of as many pictures as one step holds, and
of 8.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

import click
import numpy as np

from tools.example.accuracy import PRECISIONS, cell, measure, write_noise
from tools.example.scenes import SIZE
from tools.paths import DETECTOR, SCENES
from zqc.model_io.model_file import load
from zqc.pictures.images import write_tensors
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.generate import Synthesis, synthesize
from zqc.synthesis.loop import Schedule
from zqc.synthesis.matching import Targets
from zqc.synthesis.objective import Objective

PER_BATCH = {"joint": False, "batch": 8}

Found = dict[str, list[float]]


@dataclass(frozen=True)
class Variant:
    """One way to make pictures, with what differs from the default schedule."""

    objective: Objective
    schedule: Mapping[str, object] = field(default_factory=dict)


BARE = Objective(flip=False, smooth=False, margin=0)
SEEN = replace(BARE, flip=True, smooth=True)
VARIANTS = {
    "per batch of 8": Variant(BARE, PER_BATCH),
    "joint": Variant(BARE),
    "augmented: flip, smoothing": Variant(SEEN),
    "augmented, crop of 8": Variant(replace(SEEN, margin=8)),
    "augmented, crop of 32": Variant(replace(SEEN, margin=32)),
    "stretched 1e-5, free": Variant(replace(SEEN, stretch=1e-5)),
    "stretched 1e-5, held": Variant(replace(SEEN, stretch=1e-5, held=True)),
    "stretched 1e-3, free": Variant(replace(SEEN, stretch=1e-3)),
    "means only": Variant(replace(SEEN, terms="mean")),
    "deviations only": Variant(replace(SEEN, terms="std")),
    "total variation 1e-2": Variant(replace(SEEN, total_variation=1e-2)),
    "augmented, from Gaussian noise": Variant(SEEN, {"start": "gaussian", "rate": 0.1}),
    "as published": Variant(
        replace(SEEN, margin=32, deviation_weight=10, stretch=1e-5, held=True),
        {"start": "gaussian", "rate": 3.6, "optimizer": "radam", "decay": "plateau"},
    ),
}
"""Published are: Gaussian noise, the crop of 32, the weights 1 and 10 of the deviations, stretching
of 1e-5 and less, and RAdam that is halved on plateaus, with a rate of 16 in units of normalised
pixels, whose deviation is 0.225 of the range (DGH, arXiv 2410.22110, and its code)."""

REAL, NOISE = "64 real scenes", "uniform noise"


@click.command(context_settings={"show_default": True})
@click.option("--samples", default=128, help="Pictures of each row and seed.")
@click.option("--steps", default=200, help="Steps of each picture.")
@click.option("--seeds", default=1, help="Seeds of each row.")
@click.option("--rows", default="*", help="Pattern of the rows that are made.")
@click.option("--convergence", is_flag=True, help="Print losses by step instead of the table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(samples: int, steps: int, seeds: int, rows: str, convergence: bool, as_json: bool) -> None:
    """Print the table."""
    schedules = [Schedule(samples=samples, steps=steps, seed=seed) for seed in range(seeds)]
    if not as_json:
        print(f"{samples} pictures of {steps} steps, {seeds} seeds\n", flush=True)
    if convergence:
        _converge(schedules, as_json=as_json)
    else:
        _ablate(schedules, rows, as_json=as_json)


def _ablate(schedules: list[Schedule], pattern: str, *, as_json: bool) -> None:
    """Print row by row, since a row takes minutes."""
    found: dict[str, Found] = {}
    if not as_json:
        print("| pictures | loss | " + " | ".join(PRECISIONS) + " | seconds |")
        print("|---|---|" + "---|" * len(PRECISIONS) + "---|")
    accuracy = 0.0
    for name in (*VARIANTS, REAL, NOISE):
        if not fnmatch(name, pattern):
            continue
        with tempfile.TemporaryDirectory() as folder:
            paths, made = _pictures(name, schedules, Path(folder))
            accuracy, cells = measure(DETECTOR, SCENES, {name: paths})
        found[name] = made | {precision: cells[precision][name] for precision in PRECISIONS}
        if not as_json:
            print(_row(name, found[name]), flush=True)
    if as_json:
        print(json.dumps({"float": accuracy, **found}))
    elif found:
        print(f"\nfloat: {100 * accuracy:.1f} mAP")


def _pictures(name: str, schedules: list[Schedule], folder: Path) -> tuple[list[Path], Found]:
    """Write the pictures of a row, and say how well they match and how long they took."""
    if name == REAL:
        return [SCENES / "training"], {}
    paths = [folder / f"{schedule.seed}.npz" for schedule in schedules]
    if name == NOISE:
        return [
            write_noise(path, seed=schedule.seed)
            for path, schedule in zip(paths, schedules, strict=True)
        ], {}
    variant, found = VARIANTS[name], {"loss": [], "seconds": []}
    for path, schedule in zip(paths, schedules, strict=True):
        started = time.perf_counter()
        made = synthesized(variant.objective, replace(schedule, **variant.schedule))
        found["seconds"].append(time.perf_counter() - started)
        found["loss"].append(_set_loss(made))
        write_tensors(path, made.tensors, synthesised=True)
    return paths, found


def synthesized(objective: Objective, schedule: Schedule) -> Synthesis:
    """Make the pictures."""
    model = load(DETECTOR).model
    return synthesize(
        model,
        harvest(model),
        picture=(3, SIZE, SIZE),
        input_format=InputFormat(),
        schedule=schedule,
        objective=objective,
        progress=Silent(),
    )


def _set_loss(made: Synthesis) -> float:
    """The loss of all finished pictures together, in the default terms and weights."""
    return Targets.of(harvest(load(DETECTOR).model)).loss(*made.state.pooled())


def _row(name: str, found: Found) -> str:
    loss = f"{np.mean(found['loss']):.4f}" if "loss" in found else "–"
    seconds = f"{np.mean(found['seconds']):.0f}" if "seconds" in found else "–"
    cells = [cell(found[precision]) for precision in PRECISIONS]
    return "| " + " | ".join([name, loss, *cells, seconds]) + " |"


def _converge(schedules: list[Schedule], *, as_json: bool) -> None:
    """Print means over the seeds."""
    alone = f"per batch of {schedules[0].batch}"
    kinds: dict[str, Mapping[str, object]] = {
        "joint": {},
        alone: {"joint": False},
        "per batch of 8": PER_BATCH,
    }
    losses = {
        kind: np.mean([synthesized(SEEN, replace(s, **changes)).losses for s in schedules], axis=0)
        for kind, changes in kinds.items()
    }
    if as_json:
        print(json.dumps({kind: list(values) for kind, values in losses.items()}))
        return
    joint = losses["joint"]
    steps = len(joint) - 1
    print("| step | " + " | ".join(losses) + f" | {alone} / joint |")
    print("|---|" + "---|" * (len(losses) + 1))
    for step in sorted({0, steps, *np.geomspace(1, steps, 8).round().astype(int)}):
        cells = " | ".join(f"{values[step]:.4f}" for values in losses.values())
        print(f"| {step} | {cells} | {losses[alone][step] / joint[step]:.2f} |")
    rises = np.diff(joint) / joint[:-1]
    largest = f", by {100 * rises.max():.2g} % at most" if (rises > 0).any() else ""
    print(f"\nThe joint loss rises in {(rises > 0).sum()} of {steps} steps{largest}.")


if __name__ == "__main__":
    main()
