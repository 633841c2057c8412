"""The page of a compilation."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zqc.report.html import images
from zqc.report.html.formats import number, percent, sentence
from zqc.report.html.page import Calibration, Distribution, LayerRow, Page, PartRow, Tile, Verdict
from zqc.report.html.tiles import agreement_tile, boxes_tile, size_tile
from zqc.report.text import milliseconds_text
from zqc.runtime import session
from zqc.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zqc.commands.compile import CompileResult
    from zqc.detection import verdict as judged
    from zqc.detection.agreement import PartAgreement
    from zqc.quantization.layer_facts import InputRange

SHOWN_PICTURES = 32
"""Calibration pictures on the page."""

_WORST, _BINS = 8, 64
"""Tensors whose values are drawn, and bins of each."""


def compiled_page(
    result: CompileResult,
    *,
    pictures: NDArray[np.uint8] | None = None,
    ranges: Mapping[str, InputRange] | None = None,
    given: Mapping[str, Path | bool | None] | None = None,
) -> Page:
    """Return what is to be said of a compilation.

    Args:
        result: What it ended with.
        pictures: Calibration pictures (N, height, width, channels), RGB or grey.
        ranges: What the layers read, by name of the layer.
        given: Options that say where the pictures come from, by name.
    """
    shown = () if pictures is None else tuple(images.picture_uri(p, images.SMALL) for p in pictures)
    warnings = [result.caution, result.saturation]
    return Page(
        model=Path(result.source).name or "model in memory",
        kind="Compilation",
        version=__version__,
        precision=result.precision,
        target=result.target,
        verdict=verdict_of(result.verdict),
        warnings=tuple(warning[:1].upper() + warning[1:] for warning in warnings if warning),
        tiles=_tiles(result),
        parts=(
            *(part_row(part) for part in result.agreement),
            *(PartRow(name, note=f"not compared: {why}") for name, why in result.not_compared),
        ),
        layers=_layers(result),
        distributions=_distributions(ranges or {}),
        calibration=Calibration(result.calibration, shown, result.losses),
        recipe=result.recipe.strip(),
        command=_command(result, given or {}),
        facts=_facts(result),
    )


def verdict_of(verdict: judged.Verdict) -> Verdict:
    """The verdict, its reason as a sentence."""
    return Verdict(verdict.word, sentence(verdict.reason), verdict.advice)


def part_row(part: PartAgreement) -> PartRow:
    """One part of the outputs."""
    if part.not_compared:
        return PartRow(part.part, note=f"not compared: {part.not_compared}")
    if not math.isnan(part.equal):
        return PartRow(part.part, equal=part.equal)
    distinct = (math.nan, math.nan)
    if part.kind == "scores":
        distinct = (part.distinct, part.distinct_float)
    return PartRow(part.part, part.sqnr_db, part.correlation, *distinct)


def _tiles(result: CompileResult) -> tuple[Tile, ...]:
    tiles = [size_tile(result.bytes_after, result.bytes_before)]
    before, after = result.latency_before_ms, result.latency_after_ms
    if not math.isnan(after):
        note = f"{before / after:.2f} times as fast; one picture, one thread"
        texts = milliseconds_text(after), milliseconds_text(before)
        tiles.append(Tile("Latency", *texts, note, after / before))
    for part in result.agreement:
        if part.kind in ("boxes", "scores") and not math.isnan(part.sqnr_db):
            note = f"SQNR on the calibration pictures; correlation {part.correlation:.4f}"
            tiles.append(Tile(part.part.capitalize(), f"{number(part.sqnr_db, 1)} dB", note=note))
    if result.detections is not None:
        tiles.append(agreement_tile(result.detections.ap))
    if result.pairing is not None and result.pairing.counts.float_boxes:
        tiles.append(boxes_tile(result.pairing.counts))
    total, count = len(result.layers), result.integer_layers
    what = "Quantized layers" if result.kernels == "elsewhere" else "Integer layers"
    note = "all of them" if count == total else f"{total - count} stay in float"
    tiles.append(Tile(what, f"{count}/{total}", note=note, share=count / max(total, 1)))
    return tuple(tiles)


def _layers(result: CompileResult) -> tuple[LayerRow, ...]:
    facts = {fact.name: fact for fact in result.facts}
    rows = []
    for layer in result.layers:
        fact = facts.get(layer.name)
        rows.append(
            LayerRow(
                name=layer.name,
                op_type=layer.op_type,
                weight_bits=layer.weight_bits,
                act_bits=layer.act_bits,
                weight_exponents=fact.weight_exponents if fact else None,
                act_exponent=fact.input_exponent if fact else None,
                clipped=fact.clipped if fact else math.nan,
                bytes=fact.weight_bytes if fact else math.nan,
                integer=layer.integer,
                reason=layer.reason,
            )
        )
    return tuple(rows)


def _distributions(ranges: Mapping[str, InputRange]) -> tuple[Distribution, ...]:
    """The inputs that are cut off most, each tensor once."""
    known = {name: found for name, found in ranges.items() if found.clipped > 0}
    worst = sorted(known, key=lambda name: -known[name].clipped)
    drawn: dict[int, Distribution] = {}
    for name in worst:
        drawn.setdefault(id(known[name].histogram), distribution(name, known[name]))
        if len(drawn) == _WORST:
            break
    return tuple(drawn.values())


def distribution(name: str, found: InputRange) -> Distribution:
    """The values that a layer reads, in few bins."""
    counts, width = found.histogram.counts, found.histogram.width
    seen = np.flatnonzero(counts)
    first, last = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, len(counts))
    size = max(1, math.ceil((last - first) / _BINS))
    starts = np.arange(first, last, size)
    edges = (np.append(starts, min(starts[-1] + size, len(counts))) - len(counts) / 2) * width
    sums = np.add.reduceat(counts[: starts[-1] + size], starts)
    low, high = found.grid.bounds
    return Distribution(
        name,
        tuple(map(float, edges)),
        tuple(map(float, sums)),
        low,
        high,
        f"{percent(found.clipped, 2)} of the input cut off",
    )


def _command(result: CompileResult, given: Mapping[str, Path | bool | None]) -> str:
    """The command line that makes the same again: the recipe is in the output."""
    if result.output is None or not result.source:
        return ""
    name = "tune" if given.get("--labels") else "compile"
    words = ["zqc", name, result.source, "--recipe", str(result.output)]
    for option, value in given.items():
        if value is True:
            words.append(option)
        elif value:
            words += [option, str(value)]
    return shlex.join(words)


def _facts(result: CompileResult) -> tuple[tuple[str, str], ...]:
    facts = [
        ("zqc", __version__),
        ("ONNX Runtime", session.version()),
        ("Source", result.source),
        ("SHA-256 of the source", result.sha256),
        ("Written", "" if result.output is None else str(result.output)),
        ("Input", result.input_choice.name),
        ("First and last layers", ", ".join(result.first_last)),
        ("Post-processing", ", ".join(result.post_processing)),
        ("Not equalized", "; ".join(f"{name}: {why}" for name, why in result.refused)),
    ]
    facts += [
        ("Stays in float", f"{len(found.names)} {found.op_type}: {found.reason}")
        for found in result.float_operators
    ]
    return tuple((label, text) for label, text in facts if text)
