"""Gradients of normalizations."""
# ruff: noqa: ARG001 - the signature of a rule is the schema of its operator

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp

_TINY = 1e-30  # keeps 0/0 at 0


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


def group_normalization(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    bias: ir.Value,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Sequence[Vjp]:
    """See `_Standardized`, over the channels of a group and all positions.

    Scale and bias have one number per channel; until opset 20, one per group.
    """
    rank = len(at.dims(x))
    channels, *sizes = at.sizes(x, range(1, rank))
    by_group = at.opset < 21
    spatial = list(range(2, rank))

    def folded(value: ir.Value) -> ir.Value:
        inside = channels // num_groups * int(np.prod(sizes))
        reshaped = at.op("Reshape", value, [0, num_groups, -1])
        return at.shaped(reshaped, [at.dims(x)[0], num_groups, inside])

    def unfolded(value: ir.Value) -> ir.Value:
        return at.shaped(at.op("Reshape", value, [0, channels, *sizes]), at.dims(x))

    def standardized() -> _Standardized:
        return _Standardized(at, folded(x), [2], epsilon)

    def image() -> ir.Value:
        if by_group:
            slope = at.op("Mul", folded(at.dy), at.op("Reshape", scale, [1, num_groups, 1]))
        else:
            wide = at.op("Reshape", scale, [1, channels, *[1] * len(spatial)])
            slope = folded(at.op("Mul", at.dy, wide))
        return unfolded(standardized().gradient(slope))

    def for_scale() -> ir.Value:
        value = standardized().value()
        if by_group:
            return at.sum(at.op("Mul", folded(at.dy), value), [0, 2], keepdims=False)
        return at.sum(at.op("Mul", at.dy, unfolded(value)), [0, *spatial], keepdims=False)

    def for_bias() -> ir.Value:
        if by_group:
            return at.sum(folded(at.dy), [0, 2], keepdims=False)
        return at.sum(at.dy, [0, *spatial], keepdims=False)

    return [image, for_scale, for_bias]


def rms_normalization(
    at: Context,
    x: ir.Value,
    scale: ir.Value,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Sequence[Vjp]:
    """See `_Standardized`, without centring; the scale has the shape of the normalized axes."""
    rank = len(at.dims(x))
    standardized = _Standardized(at, x, range(axis % rank, rank), epsilon, centred=False)
    return [
        lambda: standardized.gradient(at.op("Mul", at.dy, scale)),
        lambda: at.op("Mul", at.dy, standardized.value()),
    ]


def mean_variance_normalization(
    at: Context, x: ir.Value, *, axes: Sequence[int] = (0, 2, 3)
) -> Sequence[Vjp]:
    """See `_Standardized`; 1e-9 is added to the deviation there, and its square here."""
    return [lambda: _Standardized(at, x, axes, 1e-18).gradient(at.dy)]


def lp_normalization(at: Context, x: ir.Value, *, axis: int = -1, p: int = 2) -> Sequence[Vjp]:
    """(dy − ∂n·Σ dy·y)/n of y = x/n, n = ‖x‖: ∂n is y for p = 2, sign(x) for p = 1."""

    def vjp() -> ir.Value:
        if p == 2:
            norm = at.op("Sqrt", at.sum(at.op("Mul", x, x), [axis]))
        else:
            norm = at.sum(at.op("Abs", x), [axis])
        slope = at.y if p == 2 else at.op("Sign", x)
        along = at.op("Mul", slope, at.sum(at.op("Mul", at.dy, at.y), [axis]))
        known = at.mask(at.op("Greater", norm, 0.0))
        inverse = at.op("Div", known, at.op("Max", norm, _TINY))
        return at.op("Mul", at.op("Sub", at.dy, along), inverse)

    return [vjp]


def lrn(
    at: Context,
    x: ir.Value,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
) -> Sequence[Vjp]:
    """`dy`·s^−β − 2αβ/size·x·Wᵀ(dy·x·s^(−β−1)) of y = x·s^−β, s = bias + α/size·W(x²).

    W sums over a window of channels (Krizhevsky et al. 2012, section 3.3): a matrix of 0 and 1.
    """

    def vjp() -> ir.Value:
        (channels,) = at.sizes(x, [1])
        places = np.arange(channels)
        distance = places[None, :] - places[:, None]
        inside = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
        window = inside.astype(np.float32)
        flat, dy = (at.op("Reshape", value, [0, channels, -1]) for value in (x, at.dy))
        squares = at.op("MatMul", window, at.op("Mul", flat, flat))
        total = at.op("Add", at.op("Mul", squares, alpha / size), float(bias))
        direct = at.op("Mul", dy, at.op("Pow", total, -float(beta)))
        product = at.op("Mul", at.op("Mul", dy, flat), at.op("Pow", total, -float(beta) - 1))
        spread = at.op("MatMul", np.ascontiguousarray(window.T), product)
        shared = at.op("Mul", at.op("Mul", flat, spread), 2 * alpha * beta / size)
        return at.reshape(at.op("Sub", direct, shared), at.dims(x), x)

    return [vjp]


class _Standardized:
    """x̂ = (x − mean)·r with r = (variance + epsilon)^−½ over some axes.

    dx = r·(g − mean(g) − x̂·mean(g·x̂)) for a gradient g of x̂ (Ba et al. 2016, arXiv:1607.06450).
    Not centred, x̂ = x·(mean(x²) + epsilon)^−½ and dx = r·(g − x̂·mean(g·x̂)) (Zhang and Sennrich
    2019, arXiv:1910.07467).
    """

    def __init__(
        self,
        at: Context,
        x: ir.Value,
        axes: Sequence[int],
        epsilon: float,
        *,
        centred: bool = True,
    ) -> None:
        self._at, self._x, self._axes, self._epsilon = at, x, axes, epsilon
        self._centred = centred

    def value(self) -> ir.Value:
        """Emit x̂."""
        return self._parts()[0]

    def gradient(self, g: ir.Value) -> ir.Value:
        """Emit dx."""
        at = self._at
        value, inverse = self._parts()
        along = at.op("Mul", value, at.mean(at.op("Mul", g, value), self._axes))
        level = at.op("Sub", g, at.mean(g, self._axes)) if self._centred else g
        rest = at.op("Sub", level, along)
        return at.op("Mul", inverse, rest)

    def _parts(self) -> tuple[ir.Value, ir.Value]:
        at = self._at
        centred = self._x
        if self._centred:
            centred = at.op("Sub", self._x, at.mean(self._x, self._axes))
        variance = at.mean(at.op("Mul", centred, centred), self._axes)
        root = at.op("Sqrt", at.op("Add", variance, float(self._epsilon)))
        inverse = at.op("Reciprocal", root)
        value = at.op("Mul", centred, inverse)
        return at.shaped(value, at.dims(self._x)), inverse
