"""Gradients of reductions. Axes are an attribute until opset 17 and an input from 18 on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.autodiff.context import Context, Vjp
    from zqc.autodiff.emitter import Dim

_TINY = 1e-30  # keeps 0/0 at 0 in the gradient of a norm


def reduce_sum(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """`dy`, constant along the axes."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)
    return [lambda: over.kept(at.dy), None]


def reduce_mean(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """`dy`/n, constant along the axes."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)
    return [lambda: over.averaged(at.dy), None]


def reduce_sum_square(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """2·dy·x."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)
    return [lambda: at.op("Mul", at.op("Mul", over.kept(at.dy), 2.0), x), None]


def reduce_l1(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """`dy`·sign(x)."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)
    return [lambda: at.op("Mul", over.kept(at.dy), at.op("Sign", x)), None]


def reduce_l2(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """`dy`·x/y; 0 where y is 0."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)

    def vjp() -> ir.Value:
        norm = over.kept(at.op("Max", at.y, _TINY))
        return at.op("Mul", at.op("Div", over.kept(at.dy), norm), x)

    return [vjp, None]


def reduce_extremum(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None = None,
    /,
    *,
    axes: Sequence[int] | None = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Sequence[Vjp]:
    """`dy` in equal shares to the elements that attain the maximum or minimum."""
    over = _reduced(at, x, axes_input, axes, keepdims, noop_with_empty_axes)
    return [lambda: over.shared(at.dy, at.y), None]


def global_average_pool(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`/n, constant over each channel."""
    over = _Reduced(at, x, tuple(range(2, len(at.dims(x)))), True)
    return [lambda: over.averaged(at.dy)]


def global_max_pool(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy` in equal shares to the elements of a channel that attain its maximum."""
    over = _Reduced(at, x, tuple(range(2, len(at.dims(x)))), True)
    return [lambda: over.shared(at.dy, at.y)]


@dataclass(frozen=True)
class _Reduced:
    """The input of a reduction and the axes that it reduces, counted from the front."""

    at: Context
    x: ir.Value
    axes: tuple[int, ...]
    keepdims: bool

    def kept(self, value: ir.Value) -> ir.Value:
        """Return a value of the output's shape with size 1 along the reduced axes."""
        if self.keepdims or not self.axes:
            return value
        shape: list[Dim] = list(self.at.dims(self.x))
        for axis in self.axes:
            shape[axis] = 1
        return self.at.shaped(self.at.op("Unsqueeze", value, list(self.axes)), shape)

    def averaged(self, dy: ir.Value) -> ir.Value:
        """Return dy over the number of elements that were reduced to one."""
        sizes = [self.at.dims(self.x)[axis] for axis in self.axes]
        fixed = [size for size in sizes if isinstance(size, int)]
        if len(fixed) == len(sizes):
            return self.at.op("Mul", self.kept(dy), 1 / math.prod(fixed))
        counts = [
            self.at.op("Cast", self.at.op("Size", value), to=int(ir.DataType.FLOAT))
            for value in (self.at.y, self.x)
        ]
        ratio = self.at.shaped(self.at.op("Div", *counts), [])
        return self.at.op("Mul", self.kept(dy), ratio)

    def shared(self, dy: ir.Value, y: ir.Value) -> ir.Value:
        """Return dy in equal shares at the elements that equal y."""
        mask = self.at.mask(self.at.op("Equal", self.x, self.kept(y)))
        count = self.at.sum(mask, self.axes) if self.axes else mask
        share = self.at.op("Div", self.kept(dy), count)
        return self.at.shaped(self.at.op("Mul", mask, share), self.at.dims(self.x))


def _reduced(
    at: Context,
    x: ir.Value,
    axes_input: ir.Value | None,
    axes: Sequence[int] | None,
    keepdims: int,
    noop_with_empty_axes: int,
) -> _Reduced:
    rank = len(at.dims(x))
    if axes_input is not None:
        axes = at.fixed(axes_input, "axes").tolist()
    if not axes and not noop_with_empty_axes:
        axes = range(rank)
    return _Reduced(at, x, tuple(sorted(axis % rank for axis in axes or ())), bool(keepdims))
