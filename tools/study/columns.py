"""Tables of compilations in which something inside of zqc is done in other ways, a column each."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click

from tools.study.cases import Case, chooses_cases
from tools.study.learning import bits_of, cell, scores
from zqc.recipe.recipe import EFFORTS

Columns = Mapping[str, Callable[[], AbstractContextManager[object]]]
"""By its title, within what a column's models are compiled."""


def study(columns: Columns) -> click.Command:
    """Return a command that prints one line per detector and precision.

    A cell is as in ``tools.study.learning``; the seconds are those of the whole compilation.
    """

    @click.command(context_settings={"show_default": True})
    @chooses_cases()
    @click.option("--precisions", default="W4A4", help="Those to compare at.")
    @click.option("--seeds", default="0", help="Those of each cell.")
    @click.option("--effort", default="quick", type=click.Choice(EFFORTS))
    @click.option("--threads", type=int, help="Of ONNX Runtime; all cores by default.")
    def main(
        cases: Sequence[Case],
        precisions: str,
        seeds: str,
        effort: str,
        threads: int | None,
    ) -> None:
        """Print one line per detector and precision."""
        print(f"| detector | bits | {' | '.join(columns)} |")
        print("|---|---|" + "---|" * len(columns))
        for case in cases:
            for precision in precisions.split(","):
                fields = {"effort": effort, **bits_of(precision)}
                cells = []
                for within in columns.values():
                    with within():
                        each = [_measured(case, fields, int(s), threads) for s in seeds.split(",")]
                    cells.append(cell(each))
                print(f"| {case.name} | {precision} | {' | '.join(cells)} |", flush=True)

    return main


def _measured(
    case: Case, fields: dict[str, object], seed: int, threads: int | None
) -> dict[str, float]:
    """What comes out of one compilation, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        output, started = Path(folder) / "out.onnx", time.perf_counter()
        case.compile(output, case.recipe(seed=seed, **fields), threads=threads)
        return {"seconds": time.perf_counter() - started, **scores(case, output)}
