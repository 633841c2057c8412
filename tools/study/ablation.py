"""Rows of an ablation of the quantization, and the networks that they lead to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import numpy as np
import onnx

import zqc
from tools.example.accuracy import PRECISIONS, spread
from tools.study.cases import Case
from zqc.errors import ZqcError
from zqc.recipe.recipe import (
    BIAS_CORRECTIONS,
    EQUALIZATIONS,
    PRESETS,
    ROUNDINGS,
    SHIFTS,
    THRESHOLDS,
)

Changes = Mapping[str, object]
Plan = Mapping[str, Mapping[str, zqc.Recipe]]

DEFAULT = "default"
NOTHING: Changes = {
    "shift": "none",
    "equalization": "none",
    "insert_factors": "never",
    "threshold": "none",
    "lp": 2,
    "z_score": None,
    "rounding": "nearest",
    "weight_levels": "uniform",
    "bias_correction": "none",
    "second_moments": False,
    "channel_outputs": False,
}
"""All stages off; a preset gives its row these fields."""

FACTORS: tuple[Changes, ...] = (
    {"equalization": "pictures", "insert_factors": "never"},
    {"equalization": "pictures", "insert_factors": "always"},
)
"""Made only where activations have 4 bits."""

CHANGES: tuple[Changes, ...] = (
    *({"shift": value} for value in SHIFTS),
    *({"equalization": value} for value in EQUALIZATIONS),
    *FACTORS,
    *({"threshold": value} | ({"lp": 3} if value == "lp" else {}) for value in THRESHOLDS),
    *({"z_score": value} for value in (None, 8.0)),
    *({"rounding": value} for value in ROUNDINGS),
    *({"weight_levels": value} for value in ("auto", "uniform")),
    *({"bias_correction": value} for value in BIAS_CORRECTIONS),
    *({"second_moments": value} for value in (False, True)),
    *({"channel_outputs": value} for value in (False, True)),
)
ROWS: Mapping[str, Changes] = {
    DEFAULT: {},
    **{", ".join(f"{name}={value}" for name, value in row.items()): row for row in CHANGES},
    **{
        f"preset {name}": {stage: getattr(preset, stage) for stage in NOTHING}
        for name, preset in PRESETS.items()
    },
    "nothing": NOTHING,
}


@dataclass(frozen=True)
class Cell:
    """A compiled network.

    Attributes:
        value: Its score.
        network: Digest of the file without its metadata.
        seconds: How long the compilation took.
    """

    value: float
    network: str
    seconds: float


@dataclass
class Bench:
    """Compiles a model and scores the results, none twice, and tells each on standard error.

    Attributes:
        case: The model.
        pictures: Calibration pictures by seed.
        work: Folder for the outputs.
        total: Number of networks that will be made.
        cells: What came out by recipe; None where it failed.
        scores: Scores by network.
    """

    case: Case
    pictures: Mapping[int, Path]
    work: Path
    total: int
    cells: dict[zqc.Recipe, Cell | None] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def row(self, name: str, recipe: zqc.Recipe) -> list[Cell | None]:
        """Return what comes out for each seed."""
        found = []
        for seed in self.pictures:
            seeded = replace(recipe, seed=seed)
            if seeded not in self.cells:
                try:
                    cell = self._made(seeded)
                    text = f"{cell.value:.1f}"
                except ZqcError as error:
                    cell, text = None, str(error)
                self.cells[seeded] = cell
                each = (time.perf_counter() - self.started) / len(self.cells)
                left = each * (self.total - len(self.cells)) / 60
                place = f"{self.case.name} {len(self.cells)}/{self.total} {name}"
                click.echo(f"{place} {recipe.precision}: {text}; {left:.0f} min left", err=True)
            found.append(self.cells[seeded])
        return found

    def _made(self, recipe: zqc.Recipe) -> Cell:
        output = self.work / "out.onnx"
        images = self.pictures[recipe.seed]
        compiled = zqc.compile(self.case.model, output, recipe=recipe, images=images)
        network = digest(onnx.load(output))
        if network not in self.scores:
            self.scores[network], _ = score(self.case.check(output))
        return Cell(self.scores[network], network, compiled.seconds)


def plan(base: zqc.Recipe, rows: Collection[str], bits: Collection[str]) -> Plan:
    """Return the recipes by row and precision; a row without any is left out."""
    table = {
        row: {
            name: replace(base, bits=PRECISIONS[name][0], act_bits=PRECISIONS[name][1], **ROWS[row])
            for name in bits
            if PRECISIONS[name][1] == 4 or ROWS[row] not in FACTORS
        }
        for row in rows
    }
    return {row: recipes for row, recipes in table.items() if recipes}


def score(checked: zqc.CheckResult) -> tuple[float, str]:
    """What a quantized model is judged by, and the unit of the number."""
    if checked.accuracy_quantized is not None:
        return 100 * checked.accuracy_quantized.ap, "mAP in percent"
    if checked.agreement is not None:
        return 100 * checked.agreement.ap, "AP of detections in percent"
    return min(part.sqnr_db for part in checked.parts), "SQNR in dB"


def digest(model: onnx.ModelProto) -> str:
    """A digest of everything but the metadata, where the recipe stands."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.metadata_props[:]
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def line(
    name: str,
    row: Mapping[str, Sequence[Cell | None]],
    default: Mapping[str, Sequence[Cell | None]],
) -> str:
    """A row of the table; ``default`` is the row that marks refer to, with all precisions."""
    texts = []
    for bits, expected in default.items():
        cells = row.get(bits)
        if cells is None:
            texts.append("–")
        elif None in cells:
            texts.append("fails")
        else:
            networks = [[cell and cell.network for cell in side] for side in (cells, expected)]
            same = row is not default and networks[0] == networks[1]
            texts.append(spread([cell.value for cell in cells]) + (" =" if same else ""))
    seconds = [cell.seconds for cells in row.values() for cell in cells if cell]
    texts.append(f"{np.mean(seconds):.0f}" if seconds else "–")
    return f"| {name} | " + " | ".join(texts) + " |"
