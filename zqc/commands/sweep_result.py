"""What a sweep ends with: every recipe that was tried, and which of them are worth taking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zqc.report.printing import Printable


@dataclass(frozen=True, kw_only=True)
class Run:
    """One recipe of a sweep, compiled and judged.

    Attributes:
        values: What the recipe has in the fields that differ, by name.
        recipe: All of it, as TOML.
        output: The file; None where there is none.
        sha256: Hash of the file.
        precision: ``int8``, ``w4a8``, …
        verdict: Whether it is still good, in the words of ``zqc check``.
        mean_ap: COCO mAP against the labels, 0…1; None without labels.
        agreement: AP of the detections against the float model's, 0…1; None where detections are
            not read.
        sqnr_db: SQNR of the outputs, of the part that errs most.
        bytes: Size of the file.
        size: The same as a share of the float model's.
        latency: Its latency as a share of the float model's; None where it was not measured here.
        learned: What learning has left of the error; None without learning.
        seconds: Wall time of the compilation.
        error: Why there is no file; empty where there is one.
        front: Whether no other file is at most as large and at least as good, and better in one.
    """

    values: Mapping[str, Any]
    recipe: str
    output: Path | None = None
    sha256: str = ""
    precision: str = ""
    verdict: str = ""
    mean_ap: float | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    bytes: int = 0
    size: float | None = None
    latency: float | None = None
    learned: float | None = None
    seconds: float = 0.0
    error: str = ""
    front: bool = False

    @property
    def score(self) -> tuple[float, float]:
        """What runs are ranked by: mAP, or without labels the agreement, and SQNR at last."""
        first = self.mean_ap if self.mean_ap is not None else self.agreement
        return _known(first), _known(self.sqnr_db)


@dataclass(frozen=True, kw_only=True)
class SweepResult(Printable):
    """The outcome of ``zqc.sweep``.

    Attributes:
        output: The folder that holds the files.
        judged_on: The pictures that all of them were judged on, in words.
        runs: Every recipe, in the order of the values.
        best: The place in ``runs`` of the one with the best score, and of those the smallest file;
            None where there is no file.
        reused: How many an earlier sweep had made.
        bytes_float: Size of the float model.
        seconds: Wall time.
    """

    text_by = ("zqc.report.sweep_text", "swept")

    output: Path
    judged_on: str
    runs: tuple[Run, ...]
    best: int | None
    reused: int
    bytes_float: int
    seconds: float

    @property
    def failed(self) -> int:
        """The number of recipes that there is no file of."""
        return sum(bool(run.error) for run in self.runs)


def _known(score: float | None) -> float:
    """A score, the worst where there is none."""
    return -math.inf if score is None else score


def ranked(runs: Iterable[Run]) -> tuple[tuple[Run, ...], int | None]:
    """Mark the runs that are worth taking, and find the best."""
    found = list(runs)
    made = [run for run in found if not run.error]

    def beaten(run: Run) -> bool:
        return any(
            other.bytes <= run.bytes
            and other.score >= run.score
            and (other.bytes, other.score) != (run.bytes, run.score)
            for other in made
        )

    marked = tuple(replace(run, front=not run.error and not beaten(run)) for run in found)
    places = [place for place, run in enumerate(found) if not run.error]
    best = max(places, key=lambda i: (found[i].score, -found[i].bytes), default=None)
    return marked, best
