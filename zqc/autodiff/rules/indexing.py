"""Gradients of operators that pick elements: Slice, Gather, Split, Concat, Pad, Tile.

All but Concat are a Gather with constant indices along one axis after the other; the transposed
operation is `scatter`.
"""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from passes.graph import constant
from zqc.autodiff.rules.scattering import gather_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from zqc.autodiff.context import Context, Vjp


def scatter(at: Context, g: ir.Value, axis: int, index: NDArray[np.int64], size: int) -> ir.Value:
    """Emit the transpose of Gather(·, index): sum g along an axis into places of a longer axis.

    It is written as Gathers of g with a row of zeros behind it, one for each time that an element
    was picked, because ScatterElements is slow (50 ns an element) and cannot add before opset 16.

    Args:
        at: The node; the rank of g is that of the node's first input.
        g: As long as ``index`` along the axis.
        axis: The axis.
        index: Where each row of g goes; rows with an index outside [0, size) are dropped.
        size: Length of the axis of the result.
    """
    count = len(index)
    if count and index[0] >= 0 and index[-1] < size and np.all(np.diff(index) == 1):
        behind = len(at.dims(at.x)) - 1 - axis
        before, after = int(index[0]), int(size - 1 - index[-1])
        return at.pad(g, [before, *[0] * behind], [after, *[0] * behind])
    sources: list[list[int]] = [[] for _ in range(size)]
    for row, place in enumerate(index.tolist()):
        if 0 <= place < size:
            sources[place].append(row)
    layers = max([1, *map(len, sources)])
    if any(len(rows) < layers for rows in sources):
        behind = len(at.dims(at.x)) - 1 - axis
        g = at.pad(g, [0] * (behind + 1), [1, *[0] * behind])
    picks = np.full((layers, size), count, np.int64)
    for place, rows in enumerate(sources):
        picks[: len(rows), place] = rows
    return at.total([at.op("Gather", g, pick, axis=axis) for pick in picks])


def gather(at: Context, x: ir.Value, indices: ir.Value, *, axis: int = 0) -> Sequence[Vjp]:
    """`dy` goes back to where it was picked."""

    def vjp() -> ir.Value:
        shape = at.dims(x)
        along = axis % len(shape)
        if constant(indices) is None:
            return gather_by(at, x, indices, along)
        (size,) = at.sizes(x, [along])
        index = at.fixed(indices, "indices")
        flat = np.where(index < 0, index + size, index).reshape(-1)
        dy = at.dy
        if index.ndim != 1:
            dy = at.reshape(dy, [*shape[:along], flat.size, *shape[along + 1 :]], x)
        return scatter(at, dy, along, flat, size)

    return [vjp, None]


def slice_(
    at: Context,
    x: ir.Value,
    starts: ir.Value,
    ends: ir.Value,
    axes: ir.Value | None = None,
    steps: ir.Value | None = None,
) -> Sequence[Vjp]:
    """`dy` goes back to where it was cut out."""

    def vjp() -> ir.Value:
        first = at.fixed(starts, "starts").tolist()
        last = at.fixed(ends, "ends").tolist()
        step = at.fixed(steps, "steps").tolist() if steps is not None else [1] * len(first)
        along = at.fixed(axes, "axes").tolist() if axes is not None else range(len(first))
        gradient = at.dy
        for axis, start, end, stride in zip(along, first, last, step, strict=True):
            positive = axis % len(at.dims(x))
            if start == 0 and stride == 1 and end >= np.iinfo(np.int32).max:
                continue  # all of an axis that may be dynamic
            (size,) = at.sizes(x, [positive])
            gradient = scatter(at, gradient, positive, _cut(size, start, end, stride), size)
        return gradient

    return [vjp, None, None, None, None]


def _cut(size: int, start: int, end: int, step: int) -> NDArray[np.int64]:
    """Return the indices that Slice takes; it clamps where Python's slice does."""
    if step < 0 and end < -size:
        return np.arange(size)[start::step]
    return np.arange(size)[start:end:step]


def concat(at: Context, *xs: ir.Value, axis: int) -> Sequence[Vjp]:
    """Each input gets its part of dy."""

    def vjp(i: int) -> ir.Value:
        along = axis % len(at.dims(at.y))
        before = sum(at.sizes(x, [along])[0] for x in xs[:i])
        return at.slice(at.dy, along, before, before + at.sizes(xs[i], [along])[0])

    return [partial(vjp, i) for i in range(len(xs))]


def split(
    at: Context,
    x: ir.Value,
    sizes: ir.Value | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
) -> Sequence[Vjp]:
    """All dy concatenated, zeros for outputs that are not used."""

    def vjp() -> ir.Value:
        parts = [
            at.op("Expand", 0.0, at.op("Shape", y)) if dy is None else dy
            for y, dy in zip(at.node.outputs, at.dys, strict=True)
        ]
        return at.op("Concat", *parts, axis=axis)

    return [vjp, None]


def pad(
    at: Context,
    x: ir.Value,
    pads: ir.Value,
    value: ir.Value | None = None,
    axes: ir.Value | None = None,
    *,
    mode: str = "constant",
) -> Sequence[Vjp]:
    """`dy` goes back to what was copied; constant padding is cut off."""

    def vjp() -> ir.Value:
        amounts = at.fixed(pads, "pads").tolist()
        rank = len(at.dims(x))
        along = at.fixed(axes, "axes").tolist() if axes is not None else range(rank)
        gradient = at.dy
        for i, axis in enumerate(along):
            before, after = amounts[i], amounts[i + len(amounts) // 2]
            if before or after:
                (size,) = at.sizes(x, [axis % rank])
                origin = _origin(at, np.arange(-before, size + after), size, mode)
                gradient = _scatter_or_cut(at, gradient, axis % rank, origin, size)
        return gradient

    def fill() -> ir.Value:
        raise at.refusal("the padding value depends on what is differentiated for")

    return [vjp, None, fill, None]


def _origin(at: Context, places: NDArray[np.int64], size: int, mode: str) -> NDArray[np.int64]:
    """Return which element each element of a padded axis is a copy of."""
    if mode == "constant":
        return places
    if mode == "edge":
        return places.clip(0, size - 1)
    if mode == "wrap":
        return places % size
    if mode == "reflect":
        period = max(1, 2 * (size - 1))
        folded = places % period
        return np.minimum(folded, period - folded)
    raise at.refusal(f"mode={mode!r}")


def _scatter_or_cut(
    at: Context, g: ir.Value, axis: int, index: NDArray[np.int64], size: int
) -> ir.Value:
    start = -int(index[0])
    if start >= 0 and index[-1] >= size - 1 and np.all(np.diff(index) == 1):
        return at.slice(g, axis, start, start + size)
    return scatter(at, g, axis, index, size)


def tile(at: Context, x: ir.Value, repeats: ir.Value) -> Sequence[Vjp]:
    """`dy` summed over the copies."""

    def vjp() -> ir.Value:
        gradient = at.dy
        for axis, count in enumerate(at.fixed(repeats, "repeats").tolist()):
            if count != 1:
                (size,) = at.sizes(x, [axis])
                gradient = scatter(at, gradient, axis, np.tile(np.arange(size), count), size)
        return gradient

    return [vjp, None]
