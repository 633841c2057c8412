"""The page of ``zqc debug``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.report.html.distributions import distribution
from zqc.report.html.formats import sentence
from zqc.report.html.page import LayerRow, Page, Tile, Verdict
from zqc.report.html.tiles import effect_tiles
from zqc.runtime import session
from zqc.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zqc.diagnosis.results import DebugResult, LayerDiagnosis

_WORST = 8
"""Layers whose values are drawn."""


def debugged_page(result: DebugResult) -> Page:
    """Return what is to be said of the layers of a quantized model.

    Args:
        result: What ``zqc.debug`` found.
    """
    rank = {layer.name: place for place, layer in enumerate(result.ranked, 1)}
    bits = sorted({layer.weight_bits for layer in result.layers if layer.weight_bits <= 8})
    drawn = [layer for layer in result.ranked if layer.histogram is not None][:_WORST]
    return Page(
        model=result.quantized,
        kind="Debugging, layer by layer",
        version=__version__,
        precision=f"{'- and '.join(map(str, bits))}-bit weights" if bits else "",
        verdict=_verdict(result),
        warnings=_warnings(result),
        tiles=tuple(_tiles(result)),
        layers=tuple(_row(layer, rank[layer.name], result) for layer in result.layers),
        layers_note="“Local” is the layer’s own output, with the same input in both models; "
        "“cumulative” is that output with all layers before it quantized, too.",
        distributions=tuple(
            distribution(layer.name, layer.histogram, layer.clipped)
            for layer in drawn
            if layer.histogram is not None
        ),
        distributions_of="what the layers that harm most put out in the quantized model",
        recipe=result.recipe.strip(),
        command=result.command,
        facts=_facts(result),
    )


def _verdict(result: DebugResult) -> Verdict:
    first = result.ranked[0]
    reason = sentence(result.verdict)
    if first.suspect:
        return Verdict("broken", reason, title="A layer is out of order")
    if result.behind:
        return Verdict("broken", reason, title="What follows the layers is out of order")
    if first.severe:
        return Verdict("usable with care", reason, title="A layer is out of order")
    advice = "which layers suffer from their bits, and what it costs to spare them"
    return Verdict(
        "not judged",
        reason,
        result.next_command,
        advice if result.next_command else "",
        "Nothing is out of order",
    )


def _warnings(result: DebugResult) -> tuple[str, ...]:
    return tuple(sentence(said) for said in (_not_found(result), result.saturation) if said)


def _not_found(result: DebugResult) -> str:
    if not result.not_found:
        return ""
    names, count = ", ".join(result.not_found), len(result.not_found)
    layers = "1 layer was" if count == 1 else f"{count} layers were"
    return f"{layers} not found in {result.quantized}: {names}"


def _tiles(result: DebugResult) -> Iterator[Tile]:
    yield from effect_tiles(result.everything)
    wrong = sum(layer.suspect or layer.severe for layer in result.layers)
    note = f"of {len(result.layers)} that were compared with their counterparts"
    yield Tile("Out of order", "none" if not wrong else str(wrong), note=note)
    if result.parts_at:
        count = len(result.parts_at)
        note = f"first layers where the two part, below 12 dB: {result.parts_at[0]}"
        yield Tile("Parts at", f"{count} {'layer' if count == 1 else 'layers'}", note=note)


def _row(layer: LayerDiagnosis, rank: int, result: DebugResult) -> LayerRow:
    return LayerRow(
        name=layer.name,
        op_type=layer.op_type,
        weight_bits=layer.weight_bits,
        act_bits=layer.act_bits,
        boxes_db=layer.alone.boxes_db,
        scores_db=layer.alone.scores_db,
        other_db=layer.alone.other_db,
        agreement=layer.alone.agreement,
        cumulative_db=layer.cumulative_db,
        local_db=layer.local_db,
        weight_thresholds=layer.weight_exponents,
        input_threshold=layer.input_exponent,
        output_threshold=layer.output_exponent,
        output_clipped=layer.clipped,
        rank=rank,
        mark="parts here" if layer.name in result.parts_at else "",
        note="; ".join(layer.reasons),
        wrong=layer.suspect or layer.severe,
    )


def _facts(result: DebugResult) -> tuple[tuple[str, str], ...]:
    seconds = "" if math.isnan(result.seconds) else f"{result.seconds:.0f} s"
    facts = (
        ("zqc", __version__),
        ("ONNX Runtime", session.version()),
        ("Float model", result.float_model),
        ("Quantized model", result.quantized),
        ("Pictures", result.pictures),
        ("Input", result.input_choice.name),
        ("Detector", result.convention or "not known, so that detections are not compared"),
        ("Time", seconds),
    )
    return tuple((label, text) for label, text in facts if text)
