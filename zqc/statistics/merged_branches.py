"""Branches of a file of trained weights that have become one layer (RepVGG, RepConv)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.kernels import TOLERANCE
from zqc.statistics.trained_layers import TrainedKernel, TrainedNorm

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Branch:
    """A convolution with BatchNorm folded into it, or a BatchNorm alone.

    Attributes:
        norm: The BatchNorm.
        weight: (C_out, C_in/g, rows, columns); None for a BatchNorm alone.
        factor: Of the BatchNorm, (C_out,).
        bias: What folding leaves, (C_out,).
        statistics: What its output was like.
    """

    norm: str
    weight: Floats | None
    factor: Floats
    bias: Floats
    statistics: LayerStatistics


@dataclass(frozen=True)
class Merged:
    """A layer that is a sum of branches.

    Attributes:
        statistics: Of the sum: its mean is that of the means, its variance that of independent
            terms, see ``with_sums``.
        norms: Names of the BatchNorm layers in it.
    """

    statistics: LayerStatistics
    norms: tuple[str, ...]


@dataclass(frozen=True)
class Branches:
    """The branches of a file, by the module that they stand in.

    Attributes:
        groups: For each ε that branches may have, all modules with at least two.
    """

    groups: tuple[tuple[Branch, ...], ...]

    @classmethod
    def of(cls, norms: Sequence[TrainedNorm], kernels: Sequence[TrainedKernel]) -> Branches:
        """Pair each convolution with the BatchNorm right behind it, and group them by module.

        ``m.conv1.conv`` and ``m.conv1.bn`` are a branch of ``m``, and so is ``m.bn`` alone;
        ``m.conv`` and ``m.bn`` (as RepVGGDW of YOLOv10 has it, in a module of its own) too.
        """
        found: dict[tuple[str, int], list[Branch]] = defaultdict(list)
        behind: dict[str, TrainedKernel] = {}
        for kernel in kernels:
            after = [n for n in norms if 0 < n.place - kernel.place <= 6]
            width = [n for n in after if len(n.mean) == len(kernel.weight)]
            near = [n for n in width if _parent(n.name) == _parent(kernel.name)]
            if near and kernel.weight.ndim == 4:
                behind[min(near, key=lambda n: n.place).name] = kernel
        for norm in norms:
            before = behind.get(norm.name)
            module = _parent(norm.name)
            places = [module] if before is None else [module, _parent(module)]
            for index, eps in enumerate(norm.possible_eps):
                branch = _branch(norm, before, eps)
                for place in places:
                    found[place, index].append(branch)
        several = (tuple(group) for group in found.values() if 2 <= len(group) <= _MOST)
        return cls(tuple(several))

    def find(self, output: str, weight: NDArray[np.floating], bias: Floats) -> Merged | None:
        """Find branches whose sum, each with a factor of its own (PP-YOLOE's α), is a layer.

        Args:
            output: Name of the layer's output.
            weight: (C_out, C_in/g, rows, columns).
            bias: (C_out,).
        """
        if weight.ndim != 4:
            return None
        target = np.asarray(weight, np.float64)
        for group in self.groups:
            placed = [
                (b, kernel) for b in group if (kernel := _placed(b, target.shape)) is not None
            ]
            if len(placed) < 2:
                continue
            columns = np.stack([kernel.reshape(-1) for _, kernel in placed], axis=1)
            shares = np.linalg.lstsq(columns, target.reshape(-1), rcond=None)[0]
            off = np.linalg.norm(columns @ shares - target.reshape(-1))
            chosen = [
                (b, s) for (b, _), s in zip(placed, shares, strict=True) if abs(s) > _NO_SHARE
            ]
            if off > TOLERANCE * np.linalg.norm(target) or not chosen:
                continue
            terms = np.array([branch.bias * share for branch, share in chosen])
            scale = np.linalg.norm(np.abs(terms).sum(axis=0)) + np.linalg.norm(bias)
            if np.linalg.norm(terms.sum(axis=0) - bias) > TOLERANCE * max(float(scale), 1e-6):
                continue
            mean = np.sum([b.statistics.mean * share for b, share in chosen], axis=0)
            variance = np.sum([(b.statistics.deviation * s) ** 2 for b, s in chosen], axis=0)
            statistics = LayerStatistics(output, mean, np.sqrt(variance))
            return Merged(statistics, tuple(branch.norm for branch, _ in chosen))
        return None


_MOST = 8
"""Branches of one module; more are a list of layers."""

_NO_SHARE = 1e-3
"""A branch with a smaller share is no part of a sum."""


def _branch(norm: TrainedNorm, before: TrainedKernel | None, eps: float) -> Branch:
    factor = norm.factor(eps)
    bias = norm.bias(eps, 0.0 if before is None else before.bias_or_zero())
    weight = None
    if before is not None:
        weight = np.asarray(before.weight, np.float64) * factor.reshape(-1, 1, 1, 1)
    return Branch(norm.name, weight, factor, bias, norm.statistics(norm.name, eps))


def _placed(branch: Branch, shape: tuple[int, ...]) -> Floats | None:
    """The kernel of a branch in the middle of a larger one; None where it does not fit in."""
    outputs, inputs, rows, columns = shape
    weight = branch.weight
    if weight is None:
        if len(branch.factor) != outputs or outputs % inputs:
            return None
        # The tensor itself, times a factor: a 1 where a channel of a group meets itself.
        weight = np.zeros((outputs, inputs, 1, 1))
        channels = np.arange(outputs)
        weight[channels, channels % inputs, 0, 0] = branch.factor
    if weight.shape[:2] != (outputs, inputs):
        return None
    around = rows - weight.shape[2], columns - weight.shape[3]
    if min(around) < 0 or around[0] % 2 or around[1] % 2:
        return None
    sides = [(side // 2, side // 2) for side in around]
    return np.pad(weight, [(0, 0), (0, 0), *sides])


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
