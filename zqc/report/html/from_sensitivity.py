"""The page of ``zqc sensitivity``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from zqc.report.html.distributions import distribution
from zqc.report.html.formats import added, percent
from zqc.report.html.page import LayerRow, Page, StepRow, Tile, Verdict
from zqc.report.html.tiles import effect_tiles, size_tile
from zqc.report.text import bytes_text
from zqc.runtime import session
from zqc.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zqc.diagnosis.results import LayerSensitivity, SensitivityResult, Step

_WORST = 8
"""Layers whose values are drawn."""

_FLOAT_BITS = 16
"""From here on they are floats."""


def sensitivity_page(result: SensitivityResult) -> Page:
    """Return what is to be said of the layers of a model that is to be quantized.

    Args:
        result: What ``zqc.sensitivity`` found.
    """
    ranked = result.ranked
    rank = {layer.name: place for place, layer in enumerate(ranked, 1)}
    breaks = result.layers[result.breaks_at].name
    drawn = [layer for layer in ranked if layer.histogram is not None][:_WORST]
    return Page(
        model=Path(result.model).name,
        kind="Sensitivity, layer by layer",
        version=__version__,
        precision=result.precision,
        target=result.target,
        verdict=_verdict(result),
        tiles=tuple(_tiles(result)),
        layers=tuple(_row(layer, rank[layer.name], breaks) for layer in result.layers),
        layers_note="“Cumulative” is the output of the detector with this layer and all before it "
        "quantized; “gain” is what comes nearer with all layers quantized but this one, which gets "
        "the bits below “spared”.",
        steps=tuple(_step(step, result) for step in result.steps),
        distributions=tuple(
            distribution(layer.name, layer.histogram, layer.clipped)
            for layer in drawn
            if layer.histogram is not None
        ),
        distributions_of="what the layers that hurt most put out",
        recipe=result.recipe.strip(),
        command=result.command,
        facts=_facts(result),
    )


def _verdict(result: SensitivityResult) -> Verdict:
    found = result.suggestion
    if not found.layers:
        budget = bytes_text(result.budget)
        reason = f"Sparing layers for up to {budget} gains less than half a dB."
        return Verdict("not judged", reason, title="No layer to spare")
    count = len(found.layers)
    growth = found.bytes_after - found.bytes_before
    bits = "in float" if found.bits >= _FLOAT_BITS else f"at {found.bits} bits"
    share = percent(abs(growth) / max(found.bytes_before, 1))
    size = f"{added(growth)} ({share} {'more' if growth >= 0 else 'less'})"
    gains = "; ".join(
        f"{tile.label.lower()} {tile.before} → {tile.value}"
        for tile in effect_tiles(found.measured, found.before)
    )
    return Verdict(
        "not judged",
        f"For {size}: {gains}. Measured on all {result.all_pictures} pictures, with the file that "
        "it makes.",
        found.command,
        "compile with the layers spared",
        f"Spare {count} {'layer' if count == 1 else 'layers'} {bits}",
    )


def _tiles(result: SensitivityResult) -> Iterator[Tile]:
    found = result.suggestion
    if not found.layers:
        yield from effect_tiles(found.before)
        yield Tile("Size", bytes_text(found.bytes_before), note="of the quantized file")
        return
    yield from effect_tiles(found.measured, found.before)
    yield size_tile(found.bytes_after, found.bytes_before)


def _row(layer: LayerSensitivity, rank: int, breaks: str) -> LayerRow:
    known = (layer.input_exponent, layer.output_exponent)
    source, output = (math.nan if exponent is None else float(exponent) for exponent in known)
    return LayerRow(
        name=layer.name,
        op_type=layer.op_type,
        weight_bits=layer.weight_bits,
        act_bits=layer.act_bits,
        boxes_db=layer.alone.boxes_db,
        scores_db=layer.alone.scores_db,
        other_db=layer.alone.other_db,
        agreement=layer.alone.agreement,
        weight_thresholds=layer.weight_exponents,
        input_threshold=source,
        output_threshold=output,
        output_clipped=layer.clipped,
        cumulative_boxes_db=layer.cumulative.boxes_db,
        cumulative_scores_db=layer.cumulative.scores_db,
        cumulative_other_db=layer.cumulative.other_db,
        spared_bits=layer.spared_bits,
        spared_bytes=layer.spared_bytes,
        gain_boxes_db=layer.gain_boxes_db,
        gain_scores_db=layer.gain_scores_db,
        rank=rank,
        mark="breaks here" if layer.name == breaks else "",
    )


def _step(step: Step, result: SensitivityResult) -> StepRow:
    return StepRow(
        step.layers,
        step.extra_bytes,
        step.effect.boxes_db,
        step.effect.scores_db,
        step.effect.other_db,
        step.effect.agreement,
        suggested=step.layers == result.suggestion.layers,
    )


def _facts(result: SensitivityResult) -> tuple[tuple[str, str], ...]:
    detector = result.convention or "not known, so that detections are not compared"
    if result.convention:
        detector += f"; {result.detections} detections of the float model"
    facts = (
        ("zqc", __version__),
        ("ONNX Runtime", session.version()),
        ("Model", result.model),
        ("Calibration", result.calibration),
        ("Layers evaluated on", f"{result.pictures} pictures"),
        ("Suggestion measured on", f"{result.all_pictures} pictures"),
        ("Budget", added(result.budget)),
        ("Input", result.input_choice.name),
        ("Detector", detector),
        ("Time", "" if math.isnan(result.seconds) else f"{result.seconds:.0f} s"),
    )
    return tuple((label, text) for label, text in facts if text)
