"""What ``zqc sweep`` ends with: a row for every recipe, the best first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from zqc.progress import duration
from zqc.recipe.variations import typed, values_text
from zqc.report.text import bytes_text, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.commands.sweep_result import Run, SweepResult


def swept(result: SweepResult) -> Text:
    """What ``zqc sweep`` says: what was tried, on what it was judged, every recipe, the best."""
    runs = result.runs
    count = f"{len(runs)} recipe" + "s" * (len(runs) != 1)
    again = f", {result.reused} of them by an earlier sweep" if result.reused else ""
    lines = [
        line("Tried", f"{count} in {duration(result.seconds)}{again}"),
        line("Judged on", result.judged_on),
        line("Float model", bytes_text(result.bytes_float)),
    ]
    made = sorted((run for run in runs if not run.error), key=lambda run: run.score, reverse=True)
    lines += _table(made, None if result.best is None else runs[result.best])
    if made:
        lines.append(Text("* no other file is as small and as good"))
    for run in runs:
        if run.error:
            lines.append(line("Failed", f"{values_text(run.values)}: {run.error}", "red"))
    if result.best is not None:
        lines.append(line("Best", str(runs[result.best].output), "bold"))
    lines.append(line("Written", str(result.output), "bold"))
    return Text("\n").join(lines)


def _table(runs: Sequence[Run], best: Run | None) -> list[Text]:
    """Rows of the recipes under the names of what is said of them."""
    if not runs:
        return []
    columns: dict[str, list[str]] = {
        key: [typed(run.values[key]) for run in runs] for key in runs[0].values
    }
    columns |= {
        "mAP": [_percent(run.mean_ap) for run in runs],
        "agreement": [_percent(run.agreement) for run in runs],
        "SQNR": ["" if run.sqnr_db is None else f"{run.sqnr_db:.1f} dB" for run in runs],
        "size": ["" if run.size is None else f"{run.size:.3f}" for run in runs],
        "latency": ["" if run.latency is None else f"{run.latency:.2f}" for run in runs],
        "time": [duration(run.seconds) for run in runs],
        "verdict": [run.verdict for run in runs],
    }
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    rows = [_row(" ", [name.ljust(widths[name]) for name in columns], "bold")]
    for place, run in enumerate(runs):
        cells = [columns[name][place].ljust(widths[name]) for name in columns]
        rows.append(_row("*" if run.front else " ", cells, "bold" if run == best else ""))
    return rows


def _row(mark: str, cells: Sequence[str], style: str) -> Text:
    return Text(f"{mark} {'  '.join(cells)}".rstrip(), style=style)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
