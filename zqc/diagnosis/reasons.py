"""What is out of order with a layer of a quantized model, and in which words that is said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passes.layers import Layer
from zqc.diagnosis.counterparts import Match, channel_gains, correlation, rows
from zqc.diagnosis.side_by_side import decibels
from zqc.diagnosis.transplant import Placed, best_rounding, best_weight

_WORSE_WEIGHTS_DB = 9.0
"""Weights that are so much worse than their bits allow are not rounded, but wrong. Rounding with
compensation costs the weights 3 to 5 dB, to the good of the outputs."""

_WORSE_TENSOR_DB = 12.0
"""Likewise of a tensor: a threshold four times too large costs 12 dB."""

_SEVERE_TENSOR_DB = 17.0
"""Beyond it no headroom explains it: that of four is worth 12 dB."""

_OTHER_BIAS = 0.25
"""Of the standard deviation of an output: corrections of the bias are smaller."""

_BEST_DB = 56.0
"""What 8 bits allow a tensor that uses its whole grid; more is luck, such as a tensor of zeros."""

_FEW_CLIPPED = 0.001
"""Share of the values that may lie outside of a grid."""

_MUCH_CLIPPED = 0.2
"""Share from which no search for a threshold has come to it."""

_SUITS = 2.0
"""Below it a grid is as wide as its values, up to a power of two."""

_TOO_WIDE = 6.0
"""How many times as wide as its values a grid is that nobody made on purpose."""

_MUCH_TOO_WIDE = 8.0
"""Likewise, whatever it was calibrated with."""

_SAME_LAYER = 0.95
"""Likewise of all weights of a layer; with 4 bits they correlate by 0.98 or more."""

_ROUNDS = 20
"""Of the alternating least squares; factors up to 16 need few."""

_UNEVEN, _EXPLAINED_DB = 0.05, 1.0
"""Octaves by which factors of equalized channels differ at least, and what they explain. On the
example they differ by 0.2 to 1.4 and explain 15 dB, 1.5 dB where the layer has 3 bits; 2-bit
weights without them show 0.5 dB."""

_SAME_CHANNEL = 0.8
"""Correlation of the weights of two output channels that are one and the same."""


@dataclass(frozen=True)
class Finding:
    """What is out of order with a layer.

    Attributes:
        reasons: In sentences; empty where nothing is.
        severe: Whether no rounding and no headroom explains it, whatever it does to the outputs.
        of_bias: Whether it is its bias alone.
        certain: Whether the layer computes something else, whatever pictures come: its weights are
            others, or its grid has next to nothing to do with its values.
    """

    reasons: tuple[str, ...]
    severe: bool = False
    of_bias: bool = False
    certain: bool = False


def finding(
    match: Match,
    places: Sequence[Placed],
    samples: Mapping[str, NDArray[np.float32]],
    output: str,
    others: Sequence[Layer] = (),
) -> Finding:
    """Compare a layer with what its bits allow.

    Args:
        match: The layer and its counterpart.
        places: Its roundings in the float model.
        samples: Values of the float model's tensors.
        output: Name of the tensor that the layer itself puts out.
        others: The layers of the float model, whose weights may have got here.
    """
    if is_equalized(match):
        return Finding(())
    reasons = [*_of_weights(match, others)]
    wrong_weights = severe = certain = bool(reasons)
    for each in places:
        found, worse, sure = _of_tensor(each, samples[each.tensor], each.reads_only is not None)
        reasons += found
        severe = severe or worse > _SEVERE_TENSOR_DB
        certain = certain or sure
    besides_bias = bool(reasons)
    if not wrong_weights:
        reasons += _of_bias(match, samples.get(output))
    of_bias = bool(reasons) and not besides_bias
    return Finding(tuple(reasons), severe, of_bias=of_bias, certain=certain)


def is_equalized(match: Match) -> bool:
    """Whether channels of a layer were scaled, to the good of the layers around it.

    Equalization multiplies each channel of a tensor by a factor of its own, and divides the weights
    that read it. The weights are then those of the float model times a factor for each output
    channel and one for each input channel, which differ from channel to channel; a scale that is
    off is one factor for all. What such a layer's ranges should be, nobody knows from outside.
    """
    layer = match.layer
    ours, theirs = (
        rows(layer, weight).reshape(layer.outputs, layer.inputs // layer.groups, -1)
        for weight in (layer.weight, match.weight)
    )
    out, into = np.ones(ours.shape[0]), np.ones(ours.shape[1])
    for _ in range(_ROUNDS):
        out = _gains(ours * into[None, :, None], theirs, (1, 2))
        into = _gains(ours * out[:, None, None], theirs, (0, 2))
    fitted = ours * out[:, None, None] * into[None, :, None]
    explained = decibels(float(np.sum(theirs**2)), float(np.sum((theirs - fitted) ** 2)))
    uneven = max(_unevenness(out), _unevenness(into))
    plain = decibels(float(np.sum(theirs**2)), _least_error(ours, theirs))
    possible = min(weights_db(layer, best_weight(match)), 40.0) - _WORSE_WEIGHTS_DB
    return uneven > _UNEVEN and explained > max(plain + _EXPLAINED_DB, possible)


def _gains(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], axes: tuple[int, ...]
) -> NDArray[np.float64]:
    """The factors of the other axis with the least squared error; 1 where nothing shows them."""
    square = np.sum(ours**2, axis=axes)
    product = np.sum(ours * theirs, axis=axes)
    return np.asarray(np.divide(product, square, out=np.ones_like(square), where=square > 0))


def _unevenness(gains: NDArray[np.float64]) -> float:
    """Standard deviation of the factors, in octaves."""
    return float(np.std(np.log2(np.maximum(np.abs(gains), 2.0**-10))))


def _least_error(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """What is left with one factor for all channels."""
    square = float(np.sum(ours**2))
    gain = float(np.sum(ours * theirs)) / square if square else 0.0
    return float(np.sum((theirs - gain * ours) ** 2))


def weights_db(layer: Layer, weight: NDArray[np.floating]) -> float:
    """SQNR of weights in dB."""
    exact = np.asarray(layer.weight, np.float64)
    return decibels(float(np.sum(exact**2)), float(np.sum((exact - weight) ** 2)))


def _of_weights(match: Match, others: Sequence[Layer]) -> list[str]:
    layer, weight = match.layer, match.weight
    found, possible = weights_db(layer, weight), weights_db(layer, best_weight(match))
    if not found < min(possible, 40.0) - _WORSE_WEIGHTS_DB:
        return []
    for other in others:
        alike = other.weight.shape == layer.weight.shape and other.node is not layer.node
        if alike and correlation(other.weight, weight) > _SAME_LAYER:
            return [f"its weights are those of {other.node.name}: layers or heads were swapped"]
    order = _permutation(layer, weight)
    if order:
        return [
            f"its output channels are in another order: channel {order[0]} of the float model is "
            f"channel {order[1]} here (labels or heads that were swapped)"
        ]
    gain = float(np.median(channel_gains(layer, weight)))
    if abs(math.log2(max(abs(gain), 1e-9))) > 0.5:
        return [f"its weights are {_times(gain)} those of the float model"]
    return [
        f"its weights differ from those of the float model: SQNR {found:.1f} dB, where "
        f"{match.quantized.bits} bits allow {possible:.1f} dB"
    ]


def _of_tensor(
    each: Placed, values: NDArray[np.float32], is_input: bool
) -> tuple[list[str], float, bool]:
    """What is odd with a grid, by how many dB it is worse than its bits allow, and if that is sure.

    Real pictures may have a fraction of the range of those that it was calibrated with: up to 7.2
    times was seen. The two scales of a HardSigmoid may differ: its slope is in them, and a
    LeakyRelu in its place.
    """
    rounding = each.rounding
    if rounding.step.size > 1 or not len(values):
        return [], 0.0, False
    what = "its input" if is_input else "its output"
    if not np.allclose(rounding.step, rounding.step_back):
        if rounding.path[-1:] in (("HardSigmoid",), ("LeakyRelu",)):
            return [], 0.0, False
        ratio = float(rounding.step_back[0] / rounding.step[0])
        text = f"{what} is quantized with one scale and dequantized with {_times(ratio)} that"
        return [text], math.inf, True
    exact, through = values.astype(np.float64), each.seen_through
    if rounding.path[-1:] in (("Sigmoid",), ("HardSigmoid",)) and rounding.bounds[1] <= 1:
        return [], 0.0, False  # known before any picture was seen
    best = best_rounding(rounding, exact, through)
    seen = through(exact)
    signal = float(np.sum(seen**2))
    found, possible = (
        decibels(signal, float(np.sum((through(r.nearest(exact)) - seen) ** 2)))
        for r in (rounding, best)
    )
    if not found < possible - _WORSE_TENSOR_DB:
        return [], 0.0, False
    low, high = rounding.bounds
    least, most = float(exact.min()), float(exact.max())
    clipped = float(np.mean((exact < low - rounding.step[0]) | (exact > high + rounding.step[0])))
    reach = max(abs(low), abs(high)) / max(abs(least), abs(most), 1e-12)
    if clipped > _FEW_CLIPPED:
        text = (
            f"{what} is clipped: {100 * clipped:.0f} % of its values are outside "
            f"{low:.3g}…{high:.3g}, its float range is {least:.3g}…{most:.3g}"
        )
    elif reach < _SUITS:
        text = (
            f"the scale of {what} suits its few largest values, {least:.3g}…{most:.3g}, and no "
            f"others: SQNR {found:.1f} dB, where {rounding.bits} bits allow {possible:.1f} dB"
        )
    else:
        text = (
            f"the scale of {what} is {_times(reach)} what its float range {least:.3g}…{most:.3g} "
            f"asks for: SQNR {found:.1f} dB, where {rounding.bits} bits allow {possible:.1f} dB"
        )
    sure = clipped > _MUCH_CLIPPED or (clipped <= _FEW_CLIPPED and reach >= _MUCH_TOO_WIDE)
    if clipped <= _FEW_CLIPPED and reach >= _TOO_WIDE:
        return [text], math.inf, sure  # however little it costs, behind a Sigmoid for example
    return [text], min(possible, _BEST_DB) - min(found, _BEST_DB), sure


def _of_bias(match: Match, output: NDArray[np.float32] | None) -> list[str]:
    ours, theirs = match.layer.bias, match.bias
    if theirs is None or output is None or not len(output):
        return []
    exact = np.zeros_like(theirs) if ours is None else np.asarray(ours, np.float64)
    if exact.size != theirs.size:
        return []
    off = float(np.sqrt(np.mean((theirs.reshape(-1) - exact.reshape(-1)) ** 2)))
    usual = float(output.std())
    if not off > _OTHER_BIAS * usual:
        return []
    return [f"its bias is off by {off:.3g}, where its output has a deviation of {usual:.3g}"]


def _permutation(layer: Layer, weight: NDArray[np.floating]) -> tuple[int, int] | None:
    """The first channel that is another one here, if the channels are those of the float model."""
    ours, theirs = (_normed(rows(layer, each)) for each in (layer.weight, weight))
    likeness = ours @ theirs.T
    best = likeness.argmax(axis=1)
    moved = np.flatnonzero(best != np.arange(len(best)))
    certain = likeness[moved, best[moved]] > _SAME_CHANNEL if len(moved) else np.zeros(0, bool)
    moved = moved[certain]
    if not len(moved) or np.median(likeness.max(axis=1)) < _SAME_CHANNEL:
        return None
    stay = likeness[moved, moved]
    moved = moved[stay < _SAME_CHANNEL]
    return (int(moved[0]), int(best[moved[0]])) if len(moved) else None


def _normed(array: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    return np.asarray(np.divide(array, norms, out=np.zeros_like(array), where=norms > 0))


def _times(ratio: float) -> str:
    if 0 < ratio < 0.75:
        return f"1/{1 / ratio:.3g} of" if 1 / ratio >= 1.5 else f"{ratio:.2g} times"
    return f"{ratio:.3g} times"
