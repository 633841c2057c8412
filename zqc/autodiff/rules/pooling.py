"""Gradients of MaxPool and AveragePool; the global ones are reductions."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zqc.autodiff.rules.convolution import spread
from zqc.autodiff.rules.indexing import scatter
from zqc.autodiff.rules.window import Window, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    from zqc.autodiff.context import Context, Vjp

_LOWEST = float(np.finfo(np.float32).min)


def average_pool(
    at: Context,
    x: ir.Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Sequence[Vjp]:
    """`dy`/count goes to all that the window saw: a depthwise convolution with ones."""

    def vjp() -> ir.Value:
        shape = window(
            at,
            x,
            at.y,
            kernel=kernel_shape,
            auto_pad=auto_pad,
            pads=pads,
            strides=strides,
            dilations=dilations,
        )
        (channels,) = at.sizes(x, [1])
        taps = math.prod(shape.kernel)
        if not any(shape.begins) and max(shape.ends) <= 0:
            seed, weight = at.dy, 1 / taps
        else:
            behind = tuple(pads or (0,) * 2 * len(shape.kernel))[len(shape.kernel) :]
            if auto_pad != "NOTSET":
                behind = shape.ends
            counted = behind if count_include_pad else None
            seed = at.op("Mul", at.dy, _inverse_counts(at, x, shape, counted))
            weight = 1.0
        ones = np.full((channels, 1, *shape.kernel), weight, np.float32)
        return spread(at, seed, at.array(ones, "ones"), shape, channels)

    return [vjp]


def _inverse_counts(
    at: Context, x: ir.Value, shape: Window, counted: Sequence[int] | None
) -> NDArray[np.generic]:
    """Return 1/(elements that the mean of each window is over), 1×1×grid.

    Padding counts when ``counted`` gives its width behind, but what ``ceil_mode`` adds never does.
    """
    counts = np.ones([])
    for i, size in enumerate(at.sizes(x, shape.axes)):
        (stops,) = at.sizes(at.y, [shape.axes[i]])
        places = (
            np.arange(stops)[:, None] * shape.strides[i]
            + np.arange(shape.kernel[i]) * shape.dilations[i]
            - shape.begins[i]
        )
        low, high = (0, size) if counted is None else (-shape.begins[i], size + counted[i])
        counts = np.multiply.outer(counts, ((places >= low) & (places < high)).sum(axis=1))
    return (1 / counts[None, None]).astype(np.float32)


def max_pool(
    at: Context,
    x: ir.Value,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
) -> Sequence[Vjp]:
    """`dy` in equal shares to the elements of a window that attain its maximum.

    The output Indices would name one of them, but with it the forward pool of ONNX Runtime is ten
    times slower and overlapping windows would need the reduction of ScatterElements, which opset
    16 brought. Forward and backward, 1 thread, that against this: 2×2, 8×64×64²: 10.5 and 5.2 ms;
    5×5, stride 1, 8×128×8²: 3.0 and 2.2; 3×3, stride 2, 8×64×40²: 5.8 and 9.3.
    """

    def vjp() -> ir.Value:
        shape = window(
            at,
            x,
            at.y,
            kernel=kernel_shape,
            auto_pad=auto_pad,
            pads=pads,
            strides=strides,
            dilations=dilations,
        )
        if _is_tiling(shape):
            return _tiled_max(at, x, shape)
        return _separable_max(at, x, shape)

    return [vjp]


def _is_tiling(shape: Window) -> bool:
    """Whether every pixel lies in exactly one window."""
    return (
        len(shape.kernel) == 2
        and shape.kernel == shape.strides
        and set(shape.dilations) == {1}
        and not any(shape.begins)
        and not any(shape.ends)
    )


def _tiled_max(at: Context, x: ir.Value, shape: Window) -> ir.Value:
    scales = np.asarray([1, 1, *shape.kernel], np.float32)

    def enlarged(value: ir.Value) -> ir.Value:
        return at.op(
            "Resize",
            value,
            None,
            at.array(scales, "scales"),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    mask = at.mask(at.op("Equal", x, enlarged(at.y)))
    fraction = at.op("AveragePool", mask, kernel_shape=shape.kernel, strides=shape.strides)
    share = at.op("Div", at.op("Mul", at.dy, 1 / math.prod(shape.kernel)), fraction)
    return at.op("Mul", mask, enlarged(share))


def _separable_max(at: Context, x: ir.Value, shape: Window) -> ir.Value:
    """Emit the gradient axis by axis: the maximum of a window is that of its rows' maxima."""
    axes = [i for i, extent in enumerate(shape.extents) if extent > 1 or shape.strides[i] > 1]
    stages = [x]
    for i in axes[::-1][:-1]:
        stages.append(_max_along(at, stages[-1], shape, i))
    stages.append(at.y)
    gradient = at.dy
    for i, low, high in zip(axes, stages[-2::-1], stages[:0:-1], strict=True):
        gradient = _unmax(at, low, high, gradient, shape, i, at.sizes(x, shape.axes)[i])
    return gradient


def _max_along(at: Context, x: ir.Value, shape: Window, i: int) -> ir.Value:
    """Emit the maxima along one spatial axis."""

    def only(values: Sequence[int], other: int) -> list[int]:
        return [value if j == i else other for j, value in enumerate(values)]

    begins, ends = only(shape.begins, 0), only(shape.ends, 0)
    padded = at.pad(x, begins, ends, _LOWEST)
    return at.op(
        "MaxPool",
        padded,
        kernel_shape=only(shape.kernel, 1),
        strides=only(shape.strides, 1),
        dilations=only(shape.dilations, 1),
    )


def _unmax(
    at: Context, x: ir.Value, y: ir.Value, dy: ir.Value, shape: Window, i: int, size: int
) -> ir.Value:
    """Emit the gradient of the maxima y of x along one spatial axis of the given size."""
    axis, stride = shape.axes[i], shape.strides[i]
    (stops,) = at.sizes(at.y, [axis])
    starts = [tap * shape.dilations[i] for tap in range(shape.kernel[i])]
    untouched = [0] * (len(shape.kernel) - 1 - i)
    padded = at.pad(x, [shape.begins[i], *untouched], [shape.ends[i], *untouched], _LOWEST)
    masks = [
        at.mask(
            at.op(
                "Equal",
                at.slice(padded, axis, start, start + stride * (stops - 1) + 1, stride),
                y,
            )
        )
        for start in starts
    ]
    share = at.op("Div", dy, at.total(masks))
    parts = at.op("Concat", *(at.op("Mul", mask, share) for mask in masks), axis=axis)
    places = np.concatenate([np.arange(stops) * stride + start for start in starts])
    return scatter(at, parts, axis, places - shape.begins[i], size)
