"""In which layer a quantized model parts from its float model, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from zqc.diagnosis.quantized_model import QuantizedModel, Rounding
from zqc.diagnosis.results import LayerDiagnosis


def culprit(ranked: Sequence[LayerDiagnosis], quantized: QuantizedModel, *, behind: bool) -> str:
    """Name the layer that is out of order, or say that none is.

    Args:
        ranked: The layers, the worst first; at least one.
        quantized: The quantized model.
        behind: Whether the outputs differ by what is computed behind the last layers.
    """
    first = ranked[0]
    if first.suspect:
        others = sum(layer.suspect for layer in ranked) - 1
        more = f" ({others} more {'layer is' if others == 1 else 'layers are'} out of order)"
        return f"the culprit is {first.name}: {'; '.join(first.reasons)}{more if others else ''}"
    if first.severe and not behind:
        return (
            f"{first.name} is out of order, though it hardly harms the outputs on these pictures: "
            f"{'; '.join(first.reasons)}"
        )
    if behind:
        joined = _joined(quantized)
        why = "outputs may have been swapped there, or computed otherwise"
        if joined is not None:
            why = (
                f"{joined.source} is quantized there as a whole, in steps of "
                f"{float(joined.step_back.max()):.3g}, and scores that are smaller vanish"
            )
        return (
            f"no layer is out of order, but what is computed behind the last ones, such as "
            f"{first.name}, differs: {why}"
        )
    return (
        "no layer is out of order for the bits it has; the one that harms most is "
        f"{first.name} ({first.weight_bits} bits)"
    )


def _joined(quantized: QuantizedModel) -> Rounding | None:
    """The coarsest rounding that stands neither before nor right behind a layer, if any does."""
    of_layers = {r.name for x in quantized.layers for r in (*x.outputs, x.source) if r is not None}
    others = [r for r in quantized.roundings.values() if r.name not in of_layers]
    behind = [r for r in others if r.source in quantized.behind]
    return max(behind, key=lambda each: float(each.step_back.max()), default=None)
