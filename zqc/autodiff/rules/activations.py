"""Gradients of activation functions. Where it is cheap they are written in the output y.

A mask (0.0 or 1.0, times dy) is three times as fast in ONNX Runtime as Where, and fastest as a
HardSigmoid: without a Cast, in the blocked layout of the convolutions around it
(`Context.positive`).
"""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.autodiff.context import STEEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


def relu(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy` where y > 0."""
    return [lambda: at.op("Mul", at.dy, at.positive(at.y))]


def leaky_relu(at: Context, x: ir.Value, *, alpha: float = 0.01) -> Sequence[Vjp]:
    """`dy` where x > 0, else alpha·dy."""

    def vjp() -> ir.Value:
        if 0 <= alpha <= 1:
            slope = at.op("Clip", at.op("Mul", x, STEEP), float(alpha), 1.0)
        else:
            slope = at.op("Add", at.op("Mul", at.positive(x), 1 - float(alpha)), float(alpha))
        return at.op("Mul", at.dy, slope)

    return [vjp]


def prelu(at: Context, x: ir.Value, slope: ir.Value) -> Sequence[Vjp]:
    """`dy` where x >= 0, else slope·dy; the slope gets dy·min(x, 0)."""
    return [
        lambda: at.op("Where", at.op("Less", x, 0.0), at.op("Mul", at.dy, slope), at.dy),
        lambda: at.op("Mul", at.dy, at.op("Min", x, 0.0)),
    ]


def clip(
    at: Context, x: ir.Value, low: ir.Value | None = None, high: ir.Value | None = None
) -> Sequence[Vjp]:
    """`dy` where x was left as it was; what x was clipped to gets the rest, where low <= high."""

    def beyond(comparison: str, bound: ir.Value | None) -> ir.Value:
        return at.op("Mul", at.dy, at.mask(at.op(comparison, x, bound)))

    return [
        lambda: at.op("Mul", at.dy, at.mask(at.op("Equal", x, at.y))),
        lambda: beyond("Less", low),
        lambda: beyond("Greater", high),
    ]


def sigmoid(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·y·(1 − y)."""
    return [lambda: at.op("Mul", at.dy, at.op("Mul", at.y, at.complement(at.y)))]


def hard_sigmoid(
    at: Context, x: ir.Value, *, alpha: float = 0.2, beta: float = 0.5
) -> Sequence[Vjp]:
    """alpha·dy where 0 < y < 1."""

    def vjp() -> ir.Value:
        inside = at.op("And", at.op("Greater", at.y, 0.0), at.op("Less", at.y, 1.0))
        return at.op("Mul", at.dy, at.op("Mul", at.mask(inside), float(alpha)))

    return [vjp]


def hard_swish(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·(h + x/6 where 0 < h < 1), h = HardSigmoid(x) with alpha 1/6 and beta 1/2."""

    def vjp() -> ir.Value:
        gate = at.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
        inside = at.op("Less", at.op("Abs", x), 3.0)
        slope = at.op("Mul", at.op("Mul", x, 1 / 6), at.mask(inside))
        return at.op("Mul", at.dy, at.op("Add", gate, slope))

    return [vjp]


def tanh(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·(1 − y²)."""
    return [lambda: at.op("Mul", at.dy, _one_minus_square(at, at.y))]


def softplus(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·sigmoid(x)."""
    return [lambda: at.op("Mul", at.dy, at.op("Sigmoid", x))]


def elu(at: Context, x: ir.Value, *, alpha: float = 1.0) -> Sequence[Vjp]:
    """`dy` where x > 0, else dy·(y + alpha)."""

    def vjp() -> ir.Value:
        below = at.op("Mul", at.dy, at.op("Add", at.y, float(alpha)))
        return at.op("Where", at.op("Greater", x, 0.0), at.dy, below)

    return [vjp]


def selu(
    at: Context,
    x: ir.Value,
    *,
    alpha: float = 1.67326319217681884765625,
    gamma: float = 1.05070102214813232421875,
) -> Sequence[Vjp]:
    """gamma·dy where x > 0, else dy·(y + alpha·gamma)."""

    def vjp() -> ir.Value:
        above = at.op("Mul", at.dy, float(gamma))
        below = at.op("Mul", at.dy, at.op("Add", at.y, float(alpha * gamma)))
        return at.op("Where", at.op("Greater", x, 0.0), above, below)

    return [vjp]


def gelu(at: Context, x: ir.Value, *, approximate: str = "none") -> Sequence[Vjp]:
    """`dy`·(Φ(x) + x·φ(x)), or the derivative of the tanh form (Hendrycks and Gimpel 2016)."""

    def exact() -> ir.Value:
        cdf = at.op("Mul", at.op("Add", at.op("Erf", at.op("Mul", x, 0.5**0.5)), 1.0), 0.5)
        bell = at.op("Exp", at.op("Mul", at.op("Mul", x, x), -0.5))
        slope = at.op("Mul", at.op("Mul", x, bell), 1 / math.sqrt(2 * math.pi))
        return at.op("Mul", at.dy, at.op("Add", cdf, slope))

    def by_tanh() -> ir.Value:
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        square = at.op("Mul", x, x)
        inner = at.op("Mul", x, at.op("Add", at.op("Mul", square, scale * cubic), scale))
        t = at.op("Tanh", inner)
        inner_slope = at.op("Add", at.op("Mul", square, 3 * scale * cubic), scale)
        rise = at.op("Mul", _one_minus_square(at, t), at.op("Mul", x, inner_slope))
        slope = at.op("Mul", at.op("Add", at.op("Add", t, 1.0), rise), 0.5)
        return at.op("Mul", at.dy, slope)

    if approximate not in {"none", "tanh"}:
        raise at.refusal(f"approximate={approximate!r}")
    return [by_tanh if approximate == "tanh" else exact]


def mish(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·(t + x·sigmoid(x)·(1 − t²)), t = tanh(softplus(x))."""

    def vjp() -> ir.Value:
        t = at.op("Tanh", at.op("Softplus", x))
        rise = at.op("Mul", at.op("Mul", x, at.op("Sigmoid", x)), _one_minus_square(at, t))
        return at.op("Mul", at.dy, at.op("Add", t, rise))

    return [vjp]


def swish(at: Context, x: ir.Value, *, alpha: float = 1.0) -> Sequence[Vjp]:
    """`dy`·(s + alpha·y·(1 − s)), s = sigmoid(alpha·x)."""

    def vjp() -> ir.Value:
        gate = at.op("Sigmoid", x if alpha == 1 else at.op("Mul", x, float(alpha)))
        rise = at.op("Mul", at.y, at.complement(gate))
        scaled = rise if alpha == 1 else at.op("Mul", rise, float(alpha))
        return at.op("Mul", at.dy, at.op("Add", gate, scaled))

    return [vjp]


def softsign(at: Context, x: ir.Value) -> Sequence[Vjp]:
    """`dy`·(1 − |y|)², which is dy/(1 + |x|)²."""

    def vjp() -> ir.Value:
        rest = at.op("Sub", 1.0, at.op("Abs", at.y))
        return at.op("Mul", at.dy, at.op("Mul", rest, rest))

    return [vjp]


def celu(at: Context, x: ir.Value, *, alpha: float = 1.0) -> Sequence[Vjp]:
    """`dy` where x > 0, else dy·(y/alpha + 1)."""

    def vjp() -> ir.Value:
        slope = at.op("Add", at.op("Mul", at.y, 1 / float(alpha)), 1.0)
        below = at.op("Mul", at.dy, slope)
        return at.op("Where", at.op("Greater", x, 0.0), at.dy, below)

    return [vjp]


def thresholded_relu(at: Context, x: ir.Value, *, alpha: float = 1.0) -> Sequence[Vjp]:
    """`dy` where x > alpha."""
    return [lambda: at.op("Mul", at.dy, at.mask(at.op("Greater", x, float(alpha))))]


def shrink(at: Context, x: ir.Value, *, bias: float = 0.0, lambd: float = 0.5) -> Sequence[Vjp]:
    """`dy` where |x| > lambd."""

    def vjp() -> ir.Value:
        outside = at.op("Greater", at.op("Abs", x), float(lambd))
        return at.op("Mul", at.dy, at.mask(outside))

    return [vjp]


def softmax(at: Context, x: ir.Value, *, axis: int = -1) -> Sequence[Vjp]:
    """y·(dy − Σ dy·y)."""

    def vjp() -> ir.Value:
        mean = at.sum(at.op("Mul", at.dy, at.y), [axis])
        return at.op("Mul", at.y, at.op("Sub", at.dy, mean))

    return [vjp]


def log_softmax(at: Context, x: ir.Value, *, axis: int = -1) -> Sequence[Vjp]:
    """`dy` − exp(y)·Σ dy."""
    return [lambda: at.op("Sub", at.dy, at.op("Mul", at.op("Exp", at.y), at.sum(at.dy, [axis])))]


def _one_minus_square(at: Context, value: ir.Value) -> ir.Value:
    return at.op("Sub", 1.0, at.op("Mul", value, value))
