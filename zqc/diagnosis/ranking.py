"""The culprit first: what is out of order, by how much it harms, and then the rest by harm."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from zqc.diagnosis.effects import Effect
from zqc.diagnosis.results import LayerDiagnosis

_AVOIDABLE = 0.5
"""Share of what a layer does to the outputs that the same bits could spare: below it, whatever is
odd with the layer is not what harms."""

_MATTERS = 0.1
"""Share of what all layers do together that one has to add before it is called the culprit."""

_BEHIND = 4.0
"""How many times as far the outputs have to be off as what the last layers put out explains."""

_WORST_ERROR = 10.0
"""Beyond it outputs are nothing but noise, and how much noise says nothing."""


def avoidable(layer: LayerDiagnosis) -> float:
    """Noise over signal of the outputs that a layer makes and need not, with the bits it has."""
    return layer.alone.error - layer.possible.error


def with_suspects(
    layers: Sequence[LayerDiagnosis], excused: Mapping[str, str]
) -> tuple[LayerDiagnosis, ...]:
    """Mark the layers that are out of order and harm the outputs by it.

    Args:
        layers: The layers with what is odd with them.
        excused: By name of a layer of which the bias alone is odd, the layer that its input comes
            from: a bias has the scale of the input, so that a wrong one is wrong in both.
    """
    usual = sum(layer.possible.error for layer in layers)
    marked = {
        layer.name: bool(layer.reasons)
        and avoidable(layer) > _AVOIDABLE * layer.alone.error
        and avoidable(layer) > _MATTERS * min(usual, 1.0)
        for layer in layers
    }
    return tuple(
        replace(
            layer,
            suspect=marked[layer.name] and not marked.get(excused.get(layer.name, ""), False),
        )
        for layer in layers
    )


def ranked(
    layers: Sequence[LayerDiagnosis], first: Collection[str] = ()
) -> tuple[LayerDiagnosis, ...]:
    """Order layers: those named in ``first``, the suspects, what is odd, and the rest by harm."""

    def key(layer: LayerDiagnosis) -> tuple[bool, bool, bool, float]:
        odd = layer.suspect or layer.severe
        harm = avoidable(layer) if odd else layer.alone.error
        return (layer.name not in first, not layer.suspect, not odd, -harm)

    return tuple(sorted(layers, key=key))


def is_behind(everything: Effect, heads: Effect) -> bool:
    """Whether the outputs are off by more than what the last layers put out explains.

    Args:
        everything: The quantized model as it is.
        heads: The float model's post-processing, fed with what the quantized one's last layers put
            out.
    """
    return min(everything.error, _WORST_ERROR) > _BEHIND * heads.error + 0.01


def parts_at(layers: Sequence[LayerDiagnosis], most: int = 3) -> tuple[str, ...]:
    """Names of the first layers whose outputs have more noise than a sixteenth of the signal.

    12 dB is where boxes and scores begin to differ visibly in the detectors that were measured.
    """
    return tuple(layer.name for layer in layers if layer.cumulative_db < 12.0)[:most]
