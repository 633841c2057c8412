"""What it is worth that sensitivities are measured by what is found, not by the outputs alone.

    python -m tools.study.sensitivity_parts MODELS PICTURES [--zoo FOLDER] [--detectors yolov8]
        [--precisions W4A4] [--seeds 0] [--effort quick] [--threads 1]

MODELS, PICTURES and FOLDER are as in ``tools.study.calibration_sources``. The columns:

- ``outputs``: the outputs where the post-processing begins, each of which counts the same;
- ``and detections``: and boxes and classes, by the loss of agreement, as by default.

A cell is as in ``tools.study.learning``; the seconds are those of the whole compilation.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import click

from tools.study.cases import EXAMPLE, Case, shared_cases, zoo_cases
from tools.study.learning import bits_of, cell, scores
from zqc.calibration import sensitivity
from zqc.recipe.recipe import EFFORTS

COLUMNS = ("outputs", "and detections")


@click.command(context_settings={"show_default": True})
@click.argument("models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--zoo", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--detectors", default="", help="Part of the names of the detectors.")
@click.option("--precisions", default="W4A4", help="Those to compare at.")
@click.option("--seeds", default="0", help="Those of each cell.")
@click.option("--effort", default="quick", type=click.Choice(EFFORTS), help="Of the compilation.")
@click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
def main(
    models: Path,
    pictures: Path,
    zoo: Path | None,
    detectors: str,
    precisions: str,
    seeds: str,
    effort: str,
    threads: int | None,
) -> None:
    """Print one line per detector and precision."""
    print(f"| detector | bits | {' | '.join(COLUMNS)} |")
    print("|---|---|---|---|")
    for case in (EXAMPLE, *shared_cases(models, pictures), *(zoo_cases(zoo) if zoo else ())):
        if detectors not in case.name or not case.model.exists():
            continue
        for precision in precisions.split(","):
            fields = {"effort": effort, **bits_of(precision)}
            cells = [
                cell([_measured(case, column, fields, int(s), threads) for s in seeds.split(",")])
                for column in COLUMNS
            ]
            print(f"| {case.name} | {precision} | {' | '.join(cells)} |", flush=True)


def _measured(
    case: Case, column: str, fields: dict[str, object], seed: int, threads: int | None
) -> dict[str, float]:
    """What comes out of one compilation, and its seconds."""
    alone = patch.object(sensitivity, "detection_sensitivities", return_value=())
    with tempfile.TemporaryDirectory() as folder, alone if column == "outputs" else nullcontext():
        output, started = Path(folder) / "out.onnx", time.perf_counter()
        case.compile(output, case.recipe(seed=seed, **fields), threads=threads)
        return {"seconds": time.perf_counter() - started, **scores(case, output)}


if __name__ == "__main__":
    main()
