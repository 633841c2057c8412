"""Plots of a synthesis. The same numbers give the same bytes, whatever the user's own settings."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from zqc.synthesis.loop import LayerGap

# matplotlib is imported where something is drawn: it takes as long as a small command.

_DOTS_PER_INCH = 100
_WIDTH, _HEIGHT, _ROW = 8.0, 4.0, 0.2
"""Inches: of a plot, and of one layer in the plot of the gaps."""

GOOD_GAP = 0.1
"""What 32 training pictures of the example detector are off by, or less, in nine of ten layers."""

_FEW = 50
"""Up to so many steps, each is marked: a line through one point is not seen."""

_LETTERS = 40, 14
"""How many a long name keeps of its beginning and of its end."""


def draw_losses(path: Path, losses: Sequence[float], model: str = "") -> None:
    """Draw the loss of the whole set over the steps, on a logarithmic scale.

    Args:
        path: The PNG to write.
        losses: Loss before the first and after each pass; what has no logarithm is left out.
        model: Name of the model, for the title.
    """
    drawn = [loss if loss > 0 else math.nan for loss in losses]
    with _plot(path, _HEIGHT, "Loss of the synthesis", model) as (_, axes):
        axes.set_yscale("log")
        axes.plot(range(len(drawn)), drawn, marker="." if len(drawn) <= _FEW else "")
        axes.set_xlabel("step of every picture")
        axes.set_ylabel("loss of the whole set")


def draw_gaps(path: Path, gaps: Sequence[LayerGap], model: str = "") -> None:
    """Draw how far mean and standard deviation are off, a row for each layer, from first to last.

    Args:
        path: The PNG to write.
        gaps: What is left, layer by layer.
        model: Name of the model, for the title.
    """
    rows = range(len(gaps))
    height = _ROW * len(gaps) + 1.5
    with _plot(path, height, "Gap of the statistics", model) as (figure, axes):
        axes.axvline(GOOD_GAP, color="tab:green", linestyle="--", label=f"good: up to {GOOD_GAP}")
        axes.plot([gap.mean for gap in gaps], rows, "o", label="mean")
        axes.plot([gap.deviation for gap in gaps], rows, "s", label="standard deviation")
        axes.set_yticks(rows, [_short(gap.layer) for gap in gaps], fontsize=7, parse_math=False)
        axes.set_ylim(len(gaps) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel("gap to the stored statistics, in units of the channels' deviation")
        figure.legend(loc="outside upper right", ncols=3)


@contextmanager
def _plot(path: Path, height: float, title: str, model: str) -> Iterator[tuple[Figure, Axes]]:
    """A figure with a title, written as PNG without date or version when the context ends."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("default"):
        figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS_PER_INCH, layout="constrained")
        axes = figure.subplots()
        said = f"{title}: {_short(model)}" if model else title
        axes.set_title(said, loc="left", fontsize=11, parse_math=False)
        axes.grid(visible=True, alpha=0.4)
        axes.set_axisbelow(True)
        yield figure, axes
        figure.savefig(path, format="png", metadata={"Software": None})


def _short(name: str) -> str:
    """A name that leaves room for the plot, in letters that its font has."""
    name = name.encode("ascii", "backslashreplace").decode()
    first, last = _LETTERS
    return name if len(name) <= first + last + 3 else f"{name[:first]}...{name[-last:]}"
