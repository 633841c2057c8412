"""Gradients of MatMul and Gemm."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


def matmul(at: Context, a: ir.Value, b: ir.Value) -> Sequence[Vjp]:
    """dY·Bᵀ and Aᵀ·dY; the engine sums over broadcast batch dimensions.

    A vector is a row in front (shape K → 1×K) or a column behind (K → K×1), as in numpy.
    """
    a_dims, b_dims, batch = at.dims(a), at.dims(b), list(at.dims(at.y))
    row, column = len(a_dims) == 1, len(b_dims) == 1
    batch = batch[: len(batch) - (not row) - (not column)]

    def seed() -> ir.Value:
        dy = at.op("Unsqueeze", at.dy, [-1]) if column else at.dy
        return at.op("Unsqueeze", dy, [-2]) if row else dy

    def left() -> ir.Value:
        wide = at.op("Unsqueeze", b, [0]) if column else _transposed(at, b)
        full = at.op("MatMul", seed(), wide)
        if row:
            return at.shaped(at.op("Squeeze", full, [-2]), [*batch, *a_dims])
        return at.shaped(full, [*batch, *a_dims[-2:]])

    def right() -> ir.Value:
        tall = at.op("Unsqueeze", a, [1]) if row else _transposed(at, a)
        full = at.op("MatMul", tall, seed())
        if column:
            return at.shaped(at.op("Squeeze", full, [-1]), [*batch, *b_dims])
        return at.shaped(full, [*batch, *b_dims[-2:]])

    return [left, right]


def _transposed(at: Context, value: ir.Value) -> ir.Value:
    rank = len(at.dims(value))
    return at.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])


def gemm(
    at: Context,
    a: ir.Value,
    b: ir.Value,
    c: ir.Value | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - the names of the ONNX schema
    transB: int = 0,  # noqa: N803
) -> Sequence[Vjp]:
    """Of Y = alpha·A'·B' + beta·C: alpha·dY·B'ᵀ, alpha·A'ᵀ·dY (transposed as A, B are), beta·dY."""

    def product(left: ir.Value, right: ir.Value, left_t: int, right_t: int) -> ir.Value:
        return at.op("Gemm", left, right, alpha=float(alpha), transA=left_t, transB=right_t)

    def first() -> ir.Value:
        return product(b, at.dy, transB, 1) if transA else product(at.dy, b, 0, 1 - transB)

    def second() -> ir.Value:
        return product(at.dy, a, 1, transA) if transB else product(a, at.dy, 1 - transA, 0)

    def bias() -> ir.Value:
        return at.dy if beta == 1 else at.op("Mul", at.dy, float(beta))

    return [first, second, bias]
