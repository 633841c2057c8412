"""What each step to learned rounding is worth: an ablation, from the nearest integers on.

    python -m tools.study.learning MODELS PICTURES [--zoo FOLDER] [--detectors detector]
        [--precisions W4A8,W4A4] [--source quick] [--seeds 0] [--effort standard]

MODELS, PICTURES, FOLDER and ``--source`` are as in ``tools.study.calibration_sources``; all rows of
a detector and seed have the same calibration set. Every row adds something to the one before it:

- ``nearest``: weights and biases rounded to the nearest integer;
- ``compensated``: each layer's weights make up for what was rounded before in the same layer;
- ``sequential``: and for what the layers before have become (``--rounding refitted``);
- ``biases``: compensated, then all biases trained (``--bias-correction learned``);
- ``learned``: compensated, then all weights and biases trained; every tensor's error counts by its
  own variance;
- ``+ Fisher``: and by what the outputs lose by it, channel by channel;
- ``+ detections``: and Reg-PTQ's global loss, of all boxes by their score;
- ``+ filter``: of those boxes alone that are sure and near, as Reg-PTQ has it;
- ``+ mixed bits``: with bits by layer and by tensor; all rows before have ``--uniform-bits``;
- ``+ log-affine``: and levels of weights that are closer near zero (``--weight-levels``).

A cell is the AP (0.50:0.95, in percent) of the detections against those of the float model, and its
AP50, or the SQNR of the worst part of the outputs; for the example also mAP on the held-out scenes.
The seconds are those of the compilation without the synthesis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import click
import numpy as np

from tools.example.accuracy import spread
from tools.study.calibration_sources import SOURCES, calibration_set
from tools.study.cases import Case, chooses_cases
from zqc.errors import ZqcError
from zqc.recipe.recipe import EFFORTS
from zqc.tuning.objective import USUAL, Objective


@dataclass(frozen=True)
class Row:
    """One way to quantize.

    Attributes:
        options: Of the recipe.
        objective: Of learning, where the options ask for it.
    """

    options: Mapping[str, object]
    objective: Objective = field(default=USUAL)


_UNIFORM = {"uniform_bits": True, "weight_levels": "uniform"}
_LEARNED = {**_UNIFORM, "rounding": "learned"}

ROWS: Mapping[str, Row] = {
    "nearest": Row(
        {**_UNIFORM, "rounding": "nearest", "bias_correction": "none", "second_moments": False}
    ),
    "compensated": Row({**_UNIFORM, "rounding": "compensated"}),
    "sequential": Row({**_UNIFORM, "rounding": "refitted"}),
    "biases": Row({**_UNIFORM, "rounding": "compensated", "bias_correction": "learned"}),
    "learned": Row(_LEARNED, Objective(fisher=False, agreement=0.0)),
    "+ Fisher": Row(_LEARNED, Objective(agreement=0.0)),
    "+ detections": Row(_LEARNED, Objective(filtered=False)),
    "+ filter": Row(_LEARNED),
    "+ mixed bits": Row({"rounding": "learned", "weight_levels": "uniform"}),
    "+ log-affine": Row({"rounding": "learned"}),
}


@click.command(context_settings={"show_default": True})
@chooses_cases()
@click.option("--precisions", default="W4A8,W4A4,W3A8,W2A4", help="Those to compare at.")
@click.option("--rows", default=",".join(ROWS), help="Those to make.")
@click.option("--source", default="quick", type=click.Choice(SOURCES), help="Of the pictures.")
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), help="Of learning.")
@click.option("--seeds", default="0", help="Those of each cell.")
@click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
def main(
    cases: Sequence[Case],
    precisions: str,
    rows: str,
    source: str,
    effort: str,
    seeds: str,
    threads: int | None,
) -> None:
    """Print one table per detector."""
    columns = precisions.split(",")
    for case in cases:
        print(f"\n**{case.name}**\n\n| row | {' | '.join(columns)} |")
        print("|---|" + "---|" * len(columns))
        with ExitStack() as stack:
            made = {
                seed: stack.enter_context(calibration_set(case, source, seed, threads))[0]
                for seed in map(int, seeds.split(","))
            }
            for name in rows.split(","):
                cells = []
                for column in columns:
                    options = {"effort": effort, **bits_of(column)}
                    cells.append(cell(_measured(case, ROWS[name], options, made, threads)))
                print(f"| {name} | {' | '.join(cells)} |", flush=True)


def bits_of(precision: str) -> dict[str, int]:
    """``W4A8`` as options."""
    weights, activations = precision.removeprefix("W").split("A")
    return {"bits": int(weights), "act_bits": int(activations)}


def _measured(
    case: Case,
    row: Row,
    options: Mapping[str, object],
    made: Mapping[int, Path],
    threads: int | None,
) -> list[dict[str, float]]:
    """What comes out of one compilation with each calibration set, by seed, and its seconds."""
    measured = []
    for seed, images in made.items():
        recipe = case.recipe(seed=seed, **options, **row.options)
        output = images.parent / "learning.onnx"
        started = time.perf_counter()
        try:
            with patch.object(Objective, "of", lambda _: row.objective):
                case.compile(output, recipe, images=images, threads=threads)
        except ZqcError as error:
            click.echo(f"{case.name}: {error}", err=True)
            return []
        seconds = time.perf_counter() - started
        measured.append({"seconds": seconds, **scores(case, output)})
    return measured


def scores(case: Case, quantized: Path) -> dict[str, float]:
    """MAP where there are labels, and AP against the float model or the SQNR."""
    checked, found = case.check(quantized), {}
    if checked.accuracy_quantized is not None:
        found["mAP"] = 100 * checked.accuracy_quantized.ap
    if checked.agreement is None:
        return found | {"dB": min(part.sqnr_db for part in checked.parts)}
    return found | {"AP": 100 * checked.agreement.ap, "AP50": 100 * checked.agreement.ap50}


def cell(found: list[dict[str, float]]) -> str:
    """What was measured with each seed, as text."""
    if not found:
        return "–"
    values = [
        f"{name} {spread([one[name] for one in found])}"
        for name in ("mAP", "AP", "AP50", "dB")
        if name in found[0]
    ]
    return ", ".join([*values, f"{np.mean([one['seconds'] for one in found]):.0f} s"])


if __name__ == "__main__":
    main()
