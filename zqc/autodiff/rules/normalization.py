"""Gradients of normalizations."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp


def batch_normalization(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    bias: ir.Value,
    mean: ir.Value,
    variance: ir.Value,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Sequence[Vjp]:
    """Of y = scale·x̂ + bias, x̂ = (x − mean)·r, r = (variance + epsilon)^−½, in inference.

    dx = dy·scale·r, dscale = Σ dy·x̂, dbias = Σ dy, dmean = −Σ dx, dvariance = −½·Σ dx·x̂·r.
    """
    if training_mode:
        raise at.refusal("it is in training mode")
    rank = len(at.dims(x))
    others = [0, *range(2, rank)]

    def per_channel(value: ir.Value) -> ir.Value:
        shape = [1, -1, *[1] * (rank - 2)]
        channels = at.dims(x)[1]
        return at.shaped(at.op("Reshape", value, shape), [1, channels, *[1] * (rank - 2)])

    def inverse() -> ir.Value:
        return at.op("Reciprocal", at.op("Sqrt", at.op("Add", variance, float(epsilon))))

    def image() -> ir.Value:
        return at.op("Mul", at.dy, per_channel(at.op("Mul", scale, inverse())))

    def normalized() -> ir.Value:
        return at.op("Mul", at.op("Sub", x, per_channel(mean)), per_channel(inverse()))

    def channel_sum(value: ir.Value) -> ir.Value:
        return at.sum(value, others, keepdims=False)

    def for_variance() -> ir.Value:
        slope = channel_sum(at.op("Mul", image(), normalized()))
        return at.op("Mul", slope, at.op("Mul", inverse(), -0.5))

    return [
        image,
        lambda: channel_sum(at.op("Mul", at.dy, normalized())),
        lambda: channel_sum(at.dy),
        lambda: at.op("Neg", channel_sum(image())),
        for_variance,
    ]


def layer_normalization(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    bias: ir.Value | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Sequence[Vjp]:
    """See `_Standardized`; scale and bias have the shape of the normalized axes."""
    rank = len(at.dims(x))
    standardized = _Standardized(at, x, range(axis % rank, rank), epsilon)
    return [
        lambda: standardized.gradient(at.op("Mul", at.dy, scale)),
        lambda: at.op("Mul", at.dy, standardized.value()),
        lambda: at.dy,
    ]


def instance_normalization(
    at: Context, x: ir.Value, scale: ir.Value, bias: ir.Value, *, epsilon: float = 1e-5
) -> Sequence[Vjp]:
    """See `_Standardized`; scale and bias have one number per channel."""
    spatial = range(2, len(at.dims(x)))
    standardized = _Standardized(at, x, spatial, epsilon)

    def channel_sum(value: ir.Value) -> ir.Value:
        return at.sum(value, [0, *spatial], keepdims=False)

    def image() -> ir.Value:
        per_channel = at.op("Reshape", scale, [1, -1, *[1] * len(spatial)])
        return standardized.gradient(at.op("Mul", at.dy, per_channel))

    return [
        image,
        lambda: channel_sum(at.op("Mul", at.dy, standardized.value())),
        lambda: channel_sum(at.dy),
    ]


class _Standardized:
    """x̂ = (x − mean)·r with r = (variance + epsilon)^−½ over some axes.

    dx = r·(g − mean(g) − x̂·mean(g·x̂)) for a gradient g of x̂ (Ba et al. 2016, arXiv:1607.06450).
    """

    def __init__(self, at: Context, x: ir.Value, axes: Sequence[int], epsilon: float) -> None:
        self._at, self._x, self._axes, self._epsilon = at, x, axes, epsilon

    def value(self) -> ir.Value:
        """Emit x̂."""
        return self._parts()[0]

    def gradient(self, g: ir.Value) -> ir.Value:
        """Emit dx."""
        at = self._at
        value, inverse = self._parts()
        along = at.op("Mul", value, at.mean(at.op("Mul", g, value), self._axes))
        rest = at.op("Sub", at.op("Sub", g, at.mean(g, self._axes)), along)
        return at.op("Mul", inverse, rest)

    def _parts(self) -> tuple[ir.Value, ir.Value]:
        at = self._at
        centred = at.op("Sub", self._x, at.mean(self._x, self._axes))
        variance = at.mean(at.op("Mul", centred, centred), self._axes)
        root = at.op("Sqrt", at.op("Add", variance, float(self._epsilon)))
        inverse = at.op("Reciprocal", root)
        value = at.op("Mul", centred, inverse)
        return at.shaped(value, at.dims(self._x)), inverse
