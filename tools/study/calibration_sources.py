"""What calibration pictures are worth, by detector and bits: the yardstick of docs/results.md.

    python -m tools.study.calibration_sources MODELS PICTURES [--seeds 3] [--sources 'quick,noise']

MODELS and PICTURES are as in ``tools.study.models``; what is not there is skipped. Sources:

- ``uniform``: 64 pictures of uniform noise, for the example alone, whose size they have;
- ``noise``: structured noise, ``--no-statistics``;
- ``quick``, ``standard``, ``thorough``: that effort;
- ``task``: ``--task-specific`` of standard effort, where the detector's loss is known;
- ``real``: the scenes of the example's training, and every fourth picture of the others.

Every cell is the AP (0.50:0.95, in percent) of the detections against those of the float model, or
the SQNR of the least part where no detections are known: mean and range over the seeds, with the
mean seconds of the compilation. Everything of a table is run on the same machine, one by one.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import numpy as np

import zqc
from tools.example.accuracy import PRECISIONS, spread, write_noise
from tools.paths import SCENES
from tools.study.cases import EXAMPLE, Case, shared_cases
from zqc.errors import ZqcError
from zqc.recipe.recipe import EFFORTS

SOURCES = ("uniform", "noise", *EFFORTS, "task", "real")


@click.command(context_settings={"show_default": True})
@click.argument("models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--seeds", default=3, help="Seeds of each cell.")
@click.option("--sources", default=",".join(SOURCES), help="Those to compare.")
@click.option("--precisions", default=",".join(PRECISIONS), help="Those to compare them at.")
@click.option("--detectors", default="", help="Part of the names of the detectors.")
def main(
    models: Path, pictures: Path, seeds: int, sources: str, precisions: str, detectors: str
) -> None:
    """Print one row per detector and precision."""
    asked = sources.split(",")
    print("| detector | bits | " + " | ".join(asked) + " |")
    print("|---|---|" + "---|" * len(asked))
    for case in (EXAMPLE, *shared_cases(models, pictures)):
        if detectors not in case.name or not case.model.exists():
            continue
        for precision in precisions.split(","):
            cells = [_cell(case, precision, source, seeds) for source in asked]
            print(f"| {case.name} | {precision} | " + " | ".join(cells) + " |", flush=True)


def _cell(case: Case, precision: str, source: str, seeds: int) -> str:
    if source == "uniform" and case is not EXAMPLE:
        return "–"
    found, seconds = [], []
    for seed in range(1 if source == "real" else seeds):
        try:
            value, took = measured(case, precision, source, seed)
        except ZqcError as error:
            click.echo(f"{case.name} {source}: {error}", err=True)
            return "–"
        click.echo(f"{case.name} {precision} {source} {seed}: {value:.1f}", err=True)
        found.append(value)
        seconds.append(took)
    return f"{spread(found)}, {np.mean(seconds):.0f} s"


def measured(case: Case, precision: str, source: str, seed: int) -> tuple[float, float]:
    """AP of the detections in percent, or the least SQNR, and the seconds of the compilation."""
    bits, act_bits = PRECISIONS[precision]
    effort = source if source in EFFORTS else "standard"
    recipe = case.recipe(
        bits=bits, act_bits=act_bits, seed=seed, effort=effort, task_specific=source == "task"
    )
    with tempfile.TemporaryDirectory() as folder:
        output, work = Path(folder) / "out.onnx", Path(folder)
        images = _images(case, source, seed, work)
        started = time.perf_counter()
        zqc.compile(
            case.model, output, recipe=recipe, images=images, no_statistics=source == "noise"
        )
        took = time.perf_counter() - started
        checked = case.check(output)
    if checked.agreement is not None:
        return 100 * checked.agreement.ap, took
    return min(part.sqnr_db for part in checked.parts), took


def _images(case: Case, source: str, seed: int, folder: Path) -> Path | None:
    """What is given to ``--images``, if anything is."""
    if source == "uniform":
        return write_noise(folder / "uniform.npz", seed=seed)
    if source != "real":
        return None
    if case is EXAMPLE:
        return SCENES / "training"
    chosen = folder / "real"
    chosen.mkdir()
    for path in sorted(case.pictures.iterdir())[::4]:
        (chosen / path.name).symlink_to(path.resolve())
    return chosen


if __name__ == "__main__":
    main()
