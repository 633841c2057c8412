"""Gradients of operators that pick and place elements by computed indices, which get none.

What was picked twice is added up, which ONNX's Scatter operators do from opset 16 on.
"""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp

_ADDS_SINCE = 16


def zeros_like(at: Context, value: ir.Value) -> ir.Value:
    """Emit zeros in the shape of a value."""
    return at.op("Expand", 0.0, at.op("Shape", value))


def added(
    at: Context, op_type: str, data: ir.Value, indices: ir.Value, updates: ir.Value, **axis: int
) -> ir.Value:
    """Emit a ScatterND or ScatterElements that adds.

    Raises:
        UnsupportedOperatorError: The opset is too low.
    """
    if at.opset < _ADDS_SINCE:
        raise at.refusal(f"its indices are computed, and the opset is below {_ADDS_SINCE}")
    return at.op(op_type, data, indices, updates, reduction="add", **axis)


def gather_by(at: Context, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """Emit the gradient of Gather: dy is added to where it was picked, the axis brought in front.

    With indices of rank q, dy has the axes (before, q of them, behind).
    """
    rank, count = len(at.dims(x)), len(at.dims(indices))
    first = [axis, *(i for i in range(rank) if i != axis)]
    order = [*range(axis, axis + count), *range(axis), *range(axis + count, rank + count - 1)]
    shape = at.op("Gather", at.op("Shape", x), np.asarray(first, np.int64), axis=0)
    zeros = at.op("Expand", 0.0, shape)
    updates = at.op("Transpose", at.dy, perm=order)
    places = at.op("Unsqueeze", indices, [-1])
    total = added(at, "ScatterND", zeros, places, updates)
    return at.op("Transpose", total, perm=np.argsort(first).tolist())


def gather_elements(at: Context, x: ir.Value, indices: ir.Value, *, axis: int = 0) -> Sequence[Vjp]:
    """`dy` goes back to where it was picked."""
    return [
        lambda: added(at, "ScatterElements", zeros_like(at, x), indices, at.dy, axis=axis),
        None,
    ]


def gather_nd(at: Context, x: ir.Value, indices: ir.Value, *, batch_dims: int = 0) -> Sequence[Vjp]:
    """`dy` goes back to where it was picked."""

    def vjp() -> ir.Value:
        if batch_dims:
            raise at.refusal(f"batch_dims={batch_dims}")
        return added(at, "ScatterND", zeros_like(at, x), indices, at.dy)

    return [vjp, None]


def top_k(
    at: Context,
    x: ir.Value,
    k: ir.Value,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002 - the name of the ONNX schema
) -> Sequence[Vjp]:
    """`dy` goes back to where it was picked: to places that differ, so nothing is added up."""
    indices = at.node.outputs[1]
    return [
        lambda: at.op("ScatterElements", zeros_like(at, x), indices, at.dy, axis=axis),
        None,
    ]


def scatter_elements(
    at: Context,
    x: ir.Value,
    indices: ir.Value,
    updates: ir.Value,
    *,
    axis: int = 0,
    reduction: str = "none",
) -> Sequence[Vjp]:
    """The updates get dy where they were placed; x gets the rest, or all of it (add)."""

    def rest() -> ir.Value:
        _require_sum(at, reduction)
        if reduction == "add":
            return at.dy
        return at.op("ScatterElements", at.dy, indices, zeros_like(at, updates), axis=axis)

    def placed() -> ir.Value:
        _require_sum(at, reduction)
        return at.op("GatherElements", at.dy, indices, axis=axis)

    return [rest, None, placed]


def scatter_nd(
    at: Context,
    x: ir.Value,
    indices: ir.Value,
    updates: ir.Value,
    *,
    reduction: str = "none",
) -> Sequence[Vjp]:
    """The updates get dy where they were placed; x gets the rest, or all of it (add)."""

    def rest() -> ir.Value:
        _require_sum(at, reduction)
        if reduction == "add":
            return at.dy
        return at.op("ScatterND", at.dy, indices, zeros_like(at, updates))

    def placed() -> ir.Value:
        _require_sum(at, reduction)
        return at.op("GatherND", at.dy, indices)

    return [rest, None, placed]


def _require_sum(at: Context, reduction: str) -> None:
    if reduction not in ("none", "add"):
        raise at.refusal(f"reduction={reduction!r}")
