"""What ``zqc sensitivity`` and ``zqc debug`` end with: the layers that matter, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.text import Text

from passes.arithmetic import FLOAT_BITS
from zqc.report.text import bytes_text, input_line, line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.diagnosis.effects import Effect
    from zqc.diagnosis.results import (
        DebugResult,
        LayerDiagnosis,
        LayerSensitivity,
        SensitivityResult,
        Step,
        Suggestion,
    )

_LAYERS_SHOWN = 10
_STEPS_SHOWN = 6
_FEW_DETECTIONS = 10
_KILO = 1000


def sensitivities(result: SensitivityResult) -> Text:
    """What ``zqc sensitivity`` says: the layers that hurt, where it breaks, what to do."""
    pictures = f"{result.pictures} pictures, {len(result.layers)} layers"
    shown = result.ranked[:_LAYERS_SHOWN]
    lines = [
        input_line(result.input_choice),
        line("Calibration", result.calibration),
        line("Evaluated", f"on {pictures}; {_detections(result)}"),
        line("All quantized", f"{result.precision}: {effect_text(result.everything)}"),
        *_labelled("Hurts most", [_layer(layer) for layer in shown]),
        line("Breaks at", _breaks(result.layers, result.breaks_at)),
        *_labelled("Layers spared", [_step(step, result.suggestion.bits) for step in _few(result)]),
        *_advice(result.suggestion, result),
    ]
    return Text("\n").join(lines)


def debugged(result: DebugResult) -> Text:
    """What ``zqc debug`` says: the culprit and why, and the layers that harm most."""
    style = "bold red" if any(layer.suspect for layer in result.ranked) else "bold"
    lines = [
        line("Verdict", result.verdict, style),
        input_line(result.input_choice),
        line("Pictures", result.pictures),
        line("Outputs", effect_text(result.everything)),
        *_labelled("Harms most", [_harm(layer) for layer in result.ranked[:_LAYERS_SHOWN]]),
        line("Parts at", ", ".join(result.parts_at) or "no layer: all are within 12 dB"),
    ]
    if result.not_found:
        lines.append(line("Not found", f"{', '.join(result.not_found)} in {result.quantized}"))
    if result.saturation:
        lines.append(line("Note", f"{result.saturation}; layers are compared without", "yellow"))
    if result.next_command:
        lines.append(line("Next", result.next_command, "bold"))
    return Text("\n").join(lines)


def effect_text(effect: Effect) -> str:
    """Boxes, scores, the rest, and detections, as far as they are known."""
    parts = [
        f"{name} {decibels_text(value)}"
        for name, value in (
            ("boxes", effect.boxes_db),
            ("scores", effect.scores_db),
            ("outputs", effect.other_db),
        )
        if not math.isnan(value)
    ]
    if not math.isnan(effect.agreement):
        parts.append(f"agreement {100 * effect.agreement:.1f} %")
    return ", ".join(parts) or "not compared"


def decibels_text(value: float) -> str:
    """An SQNR, or ∞ where nothing differs."""
    return "∞ dB" if value == math.inf else f"{value:.1f} dB"


def _detections(result: SensitivityResult) -> str:
    if not result.convention:
        return "detections not compared: it is not known how the outputs hold them"
    if math.isnan(result.everything.agreement):
        return "detections not compared: the float model finds none on them"
    few = ", few" if result.detections < _FEW_DETECTIONS else ""
    return f"{result.detections} detections of the float model{few}"


def _layer(layer: LayerSensitivity) -> str:
    alone = (
        f"{layer.name} ({layer.op_type}, {layer.weights:,} weights, {layer.weight_bits} bits): "
        f"alone {effect_text(layer.alone)}"
    )
    gains = [
        f"{gain:+.1f} dB {what}"
        for what, gain in (("boxes", layer.gain_boxes_db), ("scores", layer.gain_scores_db))
        if math.isfinite(gain)
    ]
    spared = ", ".join([f"{_at(layer.spared_bits)} {_extra(layer.spared_bytes)}", *gains])
    return f"{alone}; {spared}"


def _at(bits: int) -> str:
    return "in float" if bits == FLOAT_BITS else f"at {bits} bits"


def _extra(count: int) -> str:
    size = f"{abs(count)} B" if abs(count) < _KILO else bytes_text(abs(count))
    return f"{'+' if count >= 0 else '-'}{size}"


def _breaks(layers: Sequence[LayerSensitivity], worst: int) -> str:
    layer = layers[worst]
    before = effect_text(layers[worst - 1].cumulative) if worst else "nothing lost before"
    return f"{layer.name}: {before} → {effect_text(layer.cumulative)} (all up to it quantized)"


def _few(result: SensitivityResult) -> list[Step]:
    """Some of the steps, the one that is suggested among them."""
    steps = list(result.steps)
    if len(steps) <= _STEPS_SHOWN:
        return steps
    wanted = {round(index * (len(steps) - 1) / (_STEPS_SHOWN - 1)) for index in range(_STEPS_SHOWN)}
    wanted |= {i for i, step in enumerate(steps) if step.layers == result.suggestion.layers}
    return [steps[index] for index in sorted(wanted)]


def _step(step: Step, bits: int) -> str:
    count = "1 layer" if len(step.layers) == 1 else f"{len(step.layers)} layers"
    at = f" {_at(bits)}" if bits else ""
    return f"{count}{at}: {_extra(step.extra_bytes)}, {effect_text(step.effect)}"


def _advice(suggestion: Suggestion, result: SensitivityResult) -> list[Text]:
    if not suggestion.layers:
        budget = bytes_text(result.budget)
        text = f"none: sparing layers for up to {budget} gains less than half a dB"
        return [line("Suggestion", text, "bold"), _measured("Measured", suggestion)]
    count = len(suggestion.layers)
    growth = suggestion.bytes_after - suggestion.bytes_before
    share = growth / suggestion.bytes_before
    text = (
        f"{count} {'layer' if count == 1 else 'layers'} {_at(suggestion.bits)} for "
        f"{_extra(growth)} ({100 * share:+.1f} %): {effect_text(suggestion.predicted)} predicted"
    )
    return [
        line("Suggestion", text, "bold"),
        _measured("Measured", suggestion),
        line("Command", suggestion.command, "bold"),
    ]


def _measured(label: str, suggestion: Suggestion) -> Text:
    before, after = effect_text(suggestion.before), effect_text(suggestion.measured)
    said = f"{before} → {after}" if suggestion.layers else before
    return line(label, f"{said} on all pictures, with the file that it makes")


def _harm(layer: LayerDiagnosis) -> str:
    said = (
        f"{layer.name} ({layer.op_type}, {layer.weight_bits} bits): alone "
        f"{effect_text(layer.alone)}; local {decibels_text(layer.local_db)}, cumulative "
        f"{decibels_text(layer.cumulative_db)}"
    )
    if layer.clipped > 0.0005:
        said += f", {100 * layer.clipped:.1f} % clipped"
    return said + (f"; {'; '.join(layer.reasons)}" if layer.reasons else "")


def _labelled(label: str, values: Sequence[str]) -> list[Text]:
    return [line("" if index else label, text) for index, text in enumerate(values)]
