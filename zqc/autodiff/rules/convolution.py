"""Gradients of Conv and ConvTranspose, in the forms that are fastest on ONNX Runtime's CPU.

The input gradient of a convolution is

- MatMul where the kernel is 1×1: the elementwise operators around it need plain layout anyway, and
  Conv reorders to blocks and back (a network of such layers, PP-OCR: 70 ms against 85);
- Conv with flipped weights where the stride is 1 (dense 3×3, 64 channels: 4.5 ms against 5.6 as
  ConvTranspose; depthwise 1.9 against 3.1);
- ConvTranspose with other strides. A stride-1 Conv onto stride² times the channels and DepthToSpace
  takes longer (32 to 16 channels, 96²: 1.09 ms against 0.98), as do zeros between the pixels;
- ConvTranspose too for an image of few channels, which Conv pads to a block of 16 (32 to 3
  channels, 3×3, 100²: 0.25 ms against 0.79; to 8: 0.55 against 0.82; to 16: 1.09 against 0.86).

The weight gradient is unfold (Pad, Slices, Concat), MatMul and ReduceSum; with dy
as the kernel of a Conv it would be slower.
"""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

from zqc.autodiff.context import INT64_MAX
from zqc.autodiff.rules.window import Window, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


_FEW_CHANNELS = 8


def conv(
    at: Context,
    x: ir.Value,
    w: ir.Value,
    b: ir.Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Sequence[Vjp]:
    """The input gets the transposed convolution of dy, the weight what each tap saw times dy."""
    shape = window(
        at,
        x,
        at.y,
        kernel=at.sizes(w, range(2, len(at.dims(w)))),
        auto_pad=auto_pad,
        pads=pads,
        strides=strides,
        dilations=dilations,
    )
    return [
        lambda: spread(at, at.dy, w, shape, group),
        lambda: _weight_gradient(at, x, at.dy, w, shape, group),
        lambda: at.sum(at.dy, [0, *shape.axes], keepdims=False),
    ]


def conv_transpose(
    at: Context,
    x: ir.Value,
    w: ir.Value,
    b: ir.Value | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Sequence[Vjp]:
    """The gradients of Conv with image and output in each other's place."""
    kernel = at.sizes(w, range(2, len(at.dims(w))))
    shape = window(
        at,
        at.y,
        x,
        kernel=kernel,
        auto_pad="NOTSET" if output_shape else auto_pad,
        pads=None if output_shape else pads,
        strides=strides,
        dilations=dilations,
    )
    if output_shape or auto_pad.startswith("SAME"):
        shape = _split_padding(at, x, shape, auto_pad, output_padding)

    def image() -> ir.Value:
        return at.op(
            "Conv",
            at.dy,
            w,
            strides=shape.strides,
            dilations=shape.dilations,
            pads=[*shape.begins, *(max(0, end) for end in shape.ends)],
            group=group,
        )

    return [
        image,
        lambda: _weight_gradient(at, at.dy, x, w, shape, group),
        lambda: at.sum(at.dy, [0, *shape.axes], keepdims=False),
    ]


def _split_padding(
    at: Context, x: ir.Value, shape: Window, auto_pad: str, output_padding: Sequence[int] | None
) -> Window:
    """Return the padding that the ConvTranspose schema derives from the output's size."""
    begins, ends = [], []
    sizes, stops = at.sizes(at.y, shape.axes), at.sizes(x, shape.axes)
    extra = tuple(output_padding or (0,) * len(sizes))
    for i, (size, stop) in enumerate(zip(sizes, stops, strict=True)):
        covered = shape.strides[i] * (stop - 1) + shape.extents[i]
        pads = max(0, covered + extra[i] - size)
        begins.append(pads // 2 if auto_pad == "SAME_UPPER" else pads - pads // 2)
        ends.append(covered - size - begins[-1])
    return Window(shape.kernel, shape.strides, shape.dilations, tuple(begins), tuple(ends))


def spread(at: Context, dy: ir.Value, w: ir.Value, shape: Window, group: int) -> ir.Value:
    """Emit the input gradient of a convolution: every dy goes to all that its window saw.

    Args:
        at: The node.
        dy: N×O×grid.
        w: Weight O×(I/group)×kernel.
        shape: The window.
        group: Groups of channels.

    Returns:
        N×I×image.
    """
    if group == 1 and shape.is_pointwise:
        return _pointwise(at, dy, w)
    reach = tuple(extent - 1 for extent in shape.extents)
    begins = [r - begin for r, begin in zip(reach, shape.begins, strict=True)]
    ends = [r - end for r, end in zip(reach, shape.ends, strict=True)]
    few = group == 1 and at.sizes(w, [1])[0] <= _FEW_CHANNELS
    if set(shape.strides) == {1} and min(*begins, *ends) >= 0 and not few:
        return at.op(
            "Conv",
            dy,
            _flipped(at, w, group),
            dilations=shape.dilations,
            pads=[*begins, *ends],
            group=group,
        )
    return at.op(
        "ConvTranspose",
        dy,
        w,
        strides=shape.strides,
        dilations=shape.dilations,
        pads=[*shape.begins, *(max(0, end) for end in shape.ends)],
        output_padding=[max(0, -end) for end in shape.ends],
        group=group,
    )


def _pointwise(at: Context, dy: ir.Value, w: ir.Value) -> ir.Value:
    """Return the input gradient of a convolution that looks at one pixel at a time: Wᵀ·dy."""
    rows, columns = at.sizes(w, (0, 1))
    matrix = at.op("Transpose", at.op("Reshape", w, [rows, columns]), perm=[1, 0])
    flat = at.op("MatMul", matrix, at.op("Reshape", dy, [0, rows, -1]))
    return at.reshape(flat, at.dims(at.x), at.x)


def _flipped(at: Context, w: ir.Value, group: int) -> ir.Value:
    """Return O×(I/group)×kernel as I×(O/group)×kernel with all taps reversed."""
    rows, columns, *kernel = at.sizes(w, range(len(at.dims(w))))
    spatial = range(2, 2 + len(kernel))
    if group == 1:
        w = at.op("Transpose", w, perm=[1, 0, *spatial])
    elif rows != group or columns != 1:
        w = at.op("Reshape", w, [group, rows // group, columns, *kernel])
        w = at.op("Transpose", w, perm=[0, 2, 1, *(axis + 1 for axis in spatial)])
        w = at.op("Reshape", w, [group * columns, rows // group, *kernel])
    if set(kernel) == {1}:
        return w
    back = [-1] * len(kernel)
    return at.op("Slice", w, back, [-INT64_MAX] * len(kernel), list(spatial), back)


def _weight_gradient(
    at: Context, image: ir.Value, grid: ir.Value, w: ir.Value, shape: Window, group: int
) -> ir.Value:
    """Emit Σ over batch and grid of grid[o]·(what tap k of input channel i saw).

    The image is unfolded to N×group×(taps·I/group)×L and multiplied with the grid as
    N×group×(O/group)×L, where L counts the windows.
    """
    rows, columns = at.sizes(w, (0, 1))
    taps = math.prod(shape.kernel)
    padded = at.pad(image, shape.begins, shape.ends)
    seen = [
        at.op("Reshape", _seen_by(at, padded, grid, shape, tap), [0, group, columns, -1])
        for tap in product(*(range(k) for k in shape.kernel))
    ]
    unfolded = seen[0] if taps == 1 else at.op("Concat", *seen, axis=2)
    seed = at.op("Reshape", grid, [0, group, rows // group, -1])
    per_image = at.op("MatMul", seed, at.op("Transpose", unfolded, perm=[0, 1, 3, 2]))
    summed = at.sum(per_image, [0], keepdims=False)
    if taps > 1:
        summed = at.op("Reshape", summed, [rows, taps, columns])
        summed = at.op("Transpose", summed, perm=[0, 2, 1])
    return at.op("Reshape", summed, [rows, columns, *shape.kernel])


def _seen_by(
    at: Context, padded: ir.Value, grid: ir.Value, shape: Window, tap: Sequence[int]
) -> ir.Value:
    """Return what one tap sees in each window: N×C×grid."""
    if set(shape.kernel) == {1} and set(shape.strides) == {1}:
        return padded
    starts = [t * d for t, d in zip(tap, shape.dilations, strict=True)]
    if set(shape.strides) == {1}:
        rests = [s - (e - 1) for s, e in zip(starts, shape.extents, strict=True)]
        stops = [rest or INT64_MAX for rest in rests]
    else:
        counts = at.sizes(grid, shape.axes)
        spans = [s * (count - 1) + 1 for s, count in zip(shape.strides, counts, strict=True)]
        stops = [start + span for start, span in zip(starts, spans, strict=True)]
    return at.op("Slice", padded, starts, stops, list(shape.axes), list(shape.strides))
