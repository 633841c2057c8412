"""The terms of the loss, and the gradients at which they enter the network, as nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from zqc.synthesis.matching import Targets
from zqc.synthesis.nodes import channels, graph_of, number, positions, sizes, typed

_TOLERANCE = 0.5
"""How far the layer before an output may be off before stretching is held back (DGH's code)."""


def sums(tape: Tape, values: Sequence[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """Σ x and Σ x² of every channel over batch and positions, all layers in a row, (K,)."""
    firsts, seconds = [], []
    for value in values:
        axes = number(tape, f"{value.name}_axes", _but_channels(value), np.int64)
        firsts.append(tape.op("ReduceSum", [value, axes], {"keepdims": 0}))
        square = tape.op("Mul", [value, value])
        seconds.append(tape.op("ReduceSum", [square, axes], {"keepdims": 0}))
    first, second = (tape.op("Concat", part, {"axis": 0}) for part in (firsts, seconds))
    total = sum(channels(value) for value in values)
    return typed(first, [total]), typed(second, [total])


def contributions(
    tape: Tape,
    values: Sequence[ir.Value],
    summed: Sequence[ir.Value],
    *,
    batch: int,
    pictures: int,
) -> list[ir.Value]:
    """What sums over a batch contribute to the means over a set of so many pictures, (K,)."""
    share = np.concatenate(
        [np.full(channels(value), 1 / (positions(value, batch) * pictures)) for value in values]
    )
    factor = number(tape, "share_of_set", share)
    return [tape.op("Mul", [value, factor]) for value in summed]


def pooled(
    tape: Tape, own: Sequence[ir.Value], others: Sequence[ir.Value], targets: Targets
) -> ir.Value:
    """The loss of ``Targets.loss`` where a batch has its own part in the pooled moments."""
    mean, second = (tape.op("Add", pair) for pair in zip(own, others, strict=True))
    floor = number(tape, "variance_floor", targets.variance_floor)
    deviation = _deviation(tape, mean, second, floor)
    unit = number(tape, "inverse_unit", 1 / targets.unit)
    terms = []
    for kind, value, goal, weight in (
        ("mean", mean, targets.mean, targets.mean_weight),
        ("deviation", deviation, targets.deviation, targets.deviation_weight),
    ):
        if weight.any():
            square = _squared_off(tape, value, number(tape, f"stored_{kind}", goal), unit)
            weighted = tape.op("Mul", [square, number(tape, f"{kind}_weight", weight)])
            terms.append(tape.op("ReduceSum", [weighted], {"keepdims": 0}))
    return typed(tape.op("Add", terms) if len(terms) > 1 else terms[0], [])


def entering(
    tape: Tape, values: Sequence[ir.Value], slopes: Sequence[ir.Value]
) -> dict[ir.Value, ir.Value]:
    """The gradient of each layer's values, given those of their sums and sums of squares.

    It is slope + 2 · slope of squares · x, per channel: one BatchNormalization node with these for
    shift and scale, which is one pass over memory.

    Args:
        tape: Appends to the graph.
        values: Values of each layer.
        slopes: Gradients with respect to what ``sums`` returns, (K,) each.
    """
    lengths = number(tape, "channels", [channels(value) for value in values], np.int64)
    two = number(tape, "two", 2.0)
    first, second = slopes[0], tape.op("Mul", [slopes[1], two])
    count = len(values)
    shifts, scales = (
        [v] if count == 1 else _split(tape, v, lengths, count) for v in (first, second)
    )
    found = {}
    for value, shift, scale in zip(values, shifts, scales, strict=True):
        size = channels(value)
        zeros = number(tape, f"zeros_{size}", np.zeros(size))
        ones = number(tape, f"ones_{size}", np.ones(size))
        slope = tape.op("BatchNormalization", [value, scale, shift, zeros, ones], {"epsilon": 0.0})
        found[value] = typed(slope, sizes(value))
    return found


def stretch(
    tape: Tape,
    outputs: Sequence[ir.Value],
    held: Sequence[tuple[ir.Value, slice]],
    targets: Targets,
) -> ir.Value:
    """−Σ over outputs and pictures of (max − min), which is to be small (DGH, arXiv 2410.22110).

    Args:
        tape: Appends to the graph.
        outputs: Raw outputs, (N, …).
        held: The layer before each output with the place of its channels in ``targets``, to hold
            the range back while the mean or the deviation of a picture there is off by more than
            half a unit squared, averaged over the channels; none to let it go.
        targets: Statistics of all layers.
    """
    terms = []
    for output in outputs:
        axes = tuple(range(1, len(sizes(output))))
        reduced = [_extreme(tape, kind, output, axes) for kind in ("ReduceMin", "ReduceMax")]
        terms.append(tape.op("Sub", reduced))
    for value, place in held:
        terms += _implausible(tape, value, place, targets)
    total = tape.op("Sum", terms) if len(terms) > 1 else terms[0]
    return typed(tape.op("ReduceSum", [total], {"keepdims": 0}), [])


def variation(tape: Tape, pictures: ir.Value) -> ir.Value:
    """Σ of squared differences between neighbouring pixels, per pixel of a picture."""
    height, width = sizes(pictures)[2:]
    terms = []
    for axis, size in ((2, height), (3, width)):
        ends = [
            tape.op("Slice", [pictures, *(_vector(tape, v) for v in (start, stop, axis))])
            for start, stop in ((1, size), (0, size - 1))
        ]
        step = tape.op("Sub", ends)
        terms.append(tape.op("ReduceSum", [tape.op("Mul", [step, step])], {"keepdims": 0}))
    per_pixel = number(tape, "per_pixel", 1 / (height * width))
    return typed(tape.op("Mul", [tape.op("Add", terms), per_pixel]), [])


def _deviation(tape: Tape, mean: ir.Value, second: ir.Value, floor: ir.Value) -> ir.Value:
    """√(E[x²] − E[x]²), where a variance below the floor counts as the floor."""
    variance = tape.op("Sub", [second, tape.op("Mul", [mean, mean])])
    return tape.op("Sqrt", [tape.op("Max", [variance, floor])])


def _squared_off(tape: Tape, value: ir.Value, goal: ir.Value, inverse_unit: ir.Value) -> ir.Value:
    """((value − goal) / unit)²."""
    off = tape.op("Mul", [tape.op("Sub", [value, goal]), inverse_unit])
    return tape.op("Mul", [off, off])


def _extreme(tape: Tape, kind: str, value: ir.Value, axes: tuple[int, ...]) -> ir.Value:
    """Axes are an attribute until opset 17 and an input from 18 on."""
    if graph_of(tape).opset_imports[""] < 18:
        return tape.op(kind, [value], {"axes": axes, "keepdims": 0})
    listed = number(tape, f"{value.name}_range_axes", axes, np.int64)
    return tape.op(kind, [value, listed], {"keepdims": 0})


def _implausible(
    tape: Tape, value: ir.Value, place: slice, targets: Targets
) -> tuple[ir.Value, ir.Value]:
    """By how much mean and deviation of each picture are off beyond the tolerance, (N,)."""
    axes = number(tape, f"{value.name}_picture_axes", range(2, len(sizes(value))), np.int64)
    share = number(tape, f"{value.name}_per_picture", 1 / positions(value, sizes(value)[0]))

    def mean(of: ir.Value) -> ir.Value:
        return tape.op("Mul", [tape.op("ReduceSum", [of, axes], {"keepdims": 0}), share])

    first, second = mean(value), mean(tape.op("Mul", [value, value]))
    floor = number(tape, f"{value.name}_picture_floor", targets.variance_floor[place])
    deviation = _deviation(tape, first, second, floor)
    unit = number(tape, f"{value.name}_inverse_unit", 1 / targets.unit[place])
    size = number(tape, f"{value.name}_per_channel", 1 / channels(value))
    channel = number(tape, "channel_axis", [1], np.int64)
    found = []
    for kind, got, goal in (("mean", first, targets.mean), ("std", deviation, targets.deviation)):
        stored = number(tape, f"{value.name}_picture_{kind}", goal[place])
        square = _squared_off(tape, got, stored, unit)
        total = tape.op("ReduceSum", [square, channel], {"keepdims": 0})
        beyond = tape.op("Sub", [tape.op("Mul", [total, size]), number(tape, "half", _TOLERANCE)])
        found.append(tape.op("Relu", [beyond]))
    return found[0], found[1]


def _but_channels(value: ir.Value) -> list[int]:
    return [0, *range(2, len(sizes(value)))]


def _split(tape: Tape, value: ir.Value, lengths: ir.Value, count: int) -> list[ir.Value]:
    return list(tape.op_multi_out("Split", [value, lengths], {"axis": 0}, num_outputs=count))


def _vector(tape: Tape, value: int) -> ir.Value:
    return number(tape, f"only_{value}", [value], np.int64)
