"""Gradients of QuantizeLinear and DequantizeLinear: straight through the rounding.

The gradient of the integers between the two is a float tensor: what a change of one step would do.
For y = Δ·(clip(round(x/Δ) + z, q_min, q_max) − z) that makes

    ∂y/∂x = 1 where nothing is clipped, else 0
    ∂y/∂Δ = q − z − x/Δ where nothing is clipped, else q − z,

that of a rounding whose own slope is 1 (Bengio et al., arXiv 1308.3432) and, for the step, of LSQ
(arXiv 1902.08153). A step that is a power of two is Pow(2, Round(k)) of a k that is trained.
"""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from passes.arithmetic import integer_range
from passes.qdq import BITS_AND_SIGN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


def quantize_linear(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Sequence[Vjp]:
    """`dy`/Δ where nothing is clipped; that times −x/Δ for Δ."""
    grid = None if at.y.dtype is None else BITS_AND_SIGN.get(at.y.dtype)
    if grid is None:
        raise at.refusal(f"its integers are {at.y.dtype}, not of 4 or 8 bits")
    bits, signed = grid
    step = _beside(at, x, scale, axis, block_size)
    steps = at.op("Div", x, step)

    def image() -> ir.Value:
        ends = np.array(integer_range(bits=bits, signed=signed), np.float32)
        if zero is not None:
            points = at.fixed(zero, "its zero point").astype(np.float32)
            if np.any(points != points.flat[0]):
                raise at.refusal("its zero points differ")
            ends = ends - points.flat[0]
        rounded = at.op("Round", steps)
        inside = at.op("Equal", rounded, at.op("Clip", rounded, float(ends[0]), float(ends[1])))
        return at.op("Div", at.op("Mul", at.dy, at.mask(inside)), step)

    return [
        image,
        lambda: _of_scale(at, at.op("Neg", at.op("Mul", image(), steps)), x, scale, axis),
        None,
    ]


def dequantize_linear(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Sequence[Vjp]:
    """`dy`·Δ for the integers; `dy`·(q − z) for Δ."""
    step = _beside(at, x, scale, axis, block_size)

    def steps() -> ir.Value:
        return at.op("Mul", at.dy, at.op("Div", at.y, step))

    return [lambda: at.op("Mul", at.dy, step), lambda: _of_scale(at, steps(), x, scale, axis), None]


def _beside(at: Context, x: ir.Value, scale: ir.Value, axis: int, block_size: int) -> ir.Value:
    """The scale in a shape that broadcasts to x."""
    if block_size:
        raise at.refusal("its scales are of blocks")
    rank = len(at.dims(x))
    if len(at.dims(scale)) == 0 or rank == 0:
        return scale
    return at.op("Reshape", scale, [-1 if i == axis % rank else 1 for i in range(rank)])


def _of_scale(at: Context, each: ir.Value, x: ir.Value, scale: ir.Value, axis: int) -> ir.Value:
    """Sum up what the values of one scale say."""
    rank = len(at.dims(x))
    own = {axis % rank} if len(at.dims(scale)) == 1 and rank else set()
    others = [i for i in range(rank) if i not in own]
    return at.op("ReduceSum", each, others, keepdims=0) if others else each
