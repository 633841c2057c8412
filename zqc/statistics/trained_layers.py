"""BatchNorm layers and the weights before them in a file of trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.files.weights import Weights

Floats = NDArray[np.float64]

USUAL_EPS = (1e-5, 1e-3, 1e-6, 1e-4, 1e-2, 1e-12)
"""Of PyTorch; Ultralytics, TensorFlow and YOLOX; Darknet; and rarer ones."""


@dataclass(frozen=True)
class TrainedNorm:
    """A BatchNorm layer y = γ·(x − μ)/√(σ² + ε) + β. Arrays have shape (C,).

    Attributes:
        name: Its name in the file, ``model.0.bn``.
        mean: Running mean μ.
        variance: Running variance σ².
        scale: γ; ones where the layer has none.
        shift: β; zeros where the layer has none.
        eps: ε, where the file knows it.
        place: Where it stands in the file.
    """

    name: str
    mean: Floats
    variance: Floats
    scale: Floats
    shift: Floats
    eps: float | None
    place: int

    @property
    def possible_eps(self) -> tuple[float, ...]:
        """What ε may be, the likeliest first."""
        return USUAL_EPS if self.eps is None else (self.eps,)

    def factor(self, eps: float) -> Floats:
        """What folding multiplies the weights of each channel by, a = γ/√(σ² + ε)."""
        return np.asarray(self.scale / np.sqrt(self.variance + eps))

    def bias(self, eps: float, before: Floats | float) -> Floats:
        """The bias that folding leaves of one before it, β + a·(b − μ)."""
        return np.asarray(self.shift + self.factor(eps) * (before - self.mean))

    def statistics(self, output: str, eps: float) -> LayerStatistics:
        """What its output was like, under a name."""
        deviation = np.abs(self.factor(eps)) * np.sqrt(self.variance)
        return LayerStatistics(output, self.shift, deviation)


@dataclass(frozen=True)
class TrainedKernel:
    """Weights of a convolution or matrix.

    Attributes:
        name: Its name in the file, ``model.0.conv``.
        weight: As PyTorch stores it: outputs first, of a transposed convolution inputs first.
        bias: (C,), or None.
        place: Where it stands in the file.
    """

    name: str
    weight: NDArray[np.floating]
    bias: Floats | None
    place: int

    def bias_or_zero(self) -> Floats | float:
        """The bias, for sums."""
        return 0.0 if self.bias is None else self.bias


def norms_of(weights: Weights) -> tuple[TrainedNorm, ...]:
    """Every BatchNorm of a file, in its order, but those that are damaged."""
    found = []
    for place, (name, mean) in enumerate(weights.arrays.items()):
        layer = _layer(name, "running_mean")
        variance = weights.arrays.get(_member(layer, "running_var")) if layer is not None else None
        if layer is None or variance is None or mean.ndim != 1 or mean.shape != variance.shape:
            continue
        arrays = [mean, variance]
        for key, default in (("weight", 1.0), ("bias", 0.0)):
            array = weights.arrays.get(_member(layer, key))
            fits = array is not None and array.shape == mean.shape
            arrays.append(array if array is not None and fits else np.full(mean.shape, default))
        wide = [np.asarray(array, np.float64) for array in arrays]
        if all(np.isfinite(array).all() for array in wide) and (wide[1] >= 0).all():
            first, second, scale, shift = wide
            eps = weights.eps.get(layer)
            found.append(TrainedNorm(layer, first, second, scale, shift, eps, place))
    return tuple(found)


def damaged_norms(weights: Weights, sound: Sequence[TrainedNorm]) -> tuple[str, ...]:
    """The names of the others: variances below 0, numbers that are not finite, sizes that differ.

    Args:
        weights: The file.
        sound: What ``norms_of`` finds in it.
    """
    known = {norm.name for norm in sound}
    layers = (_layer(name, "running_mean") for name in weights.arrays)
    return tuple(
        layer
        for layer in layers
        if layer is not None
        and layer not in known
        and _member(layer, "running_var") in weights.arrays
    )


def kernels_of(weights: Weights) -> tuple[TrainedKernel, ...]:
    """Everything of a file that may be the weights of a layer, in its order."""
    found = []
    for place, (name, array) in enumerate(weights.arrays.items()):
        layer = _layer(name, "weight")
        if layer is None or not 2 <= array.ndim <= 5 or not np.isfinite(array).all():
            continue
        bias = weights.arrays.get(_member(layer, "bias"))
        fits = bias is not None and bias.ndim == 1 and np.isfinite(bias).all()
        wide = np.asarray(bias, np.float64) if fits else None
        found.append(TrainedKernel(layer, array, wide, place))
    return tuple(found)


def _layer(name: str, member: str) -> str | None:
    """The layer that an array belongs to, if it is this one of its members."""
    layer, _, last = name.rpartition(".")
    return layer if last == member else None


def _member(layer: str, member: str) -> str:
    return f"{layer}.{member}" if layer else member
