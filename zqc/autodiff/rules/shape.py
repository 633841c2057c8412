"""Gradients of operators that only move elements: dy is moved back."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


def reshape(
    at: Context, x: ir.Value, shape: ir.Value | None = None, *, allowzero: int = 0
) -> Sequence[Vjp]:
    """`dy` in the shape of x (Reshape)."""
    return [lambda: at.reshape(at.dy, at.dims(x), x), None]


def squeeze(at: Context, x: ir.Value, axes: ir.Value | None = None) -> Sequence[Vjp]:
    """`dy` in the shape of x (Squeeze, Unsqueeze)."""
    return [lambda: at.reshape(at.dy, at.dims(x), x), None]


def flatten(at: Context, x: ir.Value, *, axis: int = 1) -> Sequence[Vjp]:
    """`dy` in the shape of x."""
    return [lambda: at.reshape(at.dy, at.dims(x), x)]


def transpose(at: Context, x: ir.Value, *, perm: Sequence[int] | None = None) -> Sequence[Vjp]:
    """`dy` with the inverse permutation."""
    forward = perm if perm is not None else range(len(at.dims(x)))[::-1]
    inverse = np.argsort(forward).tolist()
    return [lambda: at.op("Transpose", at.dy, perm=inverse)]


def depth_to_space(at: Context, x: ir.Value, *, blocksize: int, mode: str = "DCR") -> Sequence[Vjp]:
    """SpaceToDepth of dy; in mode CRD, which it does not know, spelt out."""

    def by_transpose() -> ir.Value:
        channels, height, width = at.sizes(x, (1, 2, 3))
        depth = channels // blocksize**2
        blocks = [-1, depth, height, blocksize, width, blocksize]
        parts = at.op("Transpose", at.op("Reshape", at.dy, blocks), perm=[0, 1, 3, 5, 2, 4])
        return at.op("Reshape", parts, [-1, channels, height, width])

    if mode == "CRD":
        return [by_transpose]
    return [lambda: at.op("SpaceToDepth", at.dy, blocksize=blocksize)]


def space_to_depth(at: Context, x: ir.Value, *, blocksize: int) -> Sequence[Vjp]:
    """DepthToSpace of dy."""
    return [lambda: at.op("DepthToSpace", at.dy, blocksize=blocksize, mode="DCR")]


def trilu(at: Context, x: ir.Value, k: ir.Value | None = None, *, upper: int = 1) -> Sequence[Vjp]:
    """The same triangle of dy."""
    return [lambda: at.op("Trilu", at.dy, k, upper=upper), None]
