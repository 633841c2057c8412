"""Statistics from a file of trained weights: its BatchNorm layers found in a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.correspondence import folded, known_layers
from zqc.statistics.files.weights import Weights
from zqc.statistics.kernels import TOLERANCE, Factors, factors, rows_of, signature
from zqc.statistics.merged_branches import Branches
from zqc.statistics.trained_layers import (
    TrainedKernel,
    TrainedNorm,
    damaged_norms,
    kernels_of,
    norms_of,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lent:
    """What a file says of a model.

    Attributes:
        layers: Statistics of values of the model, in graph order.
        used: Names of the BatchNorm layers that they are of.
        unused: Names of all others in the file.
        contradicted: Names of those behind whose weights the model has other factors or biases.
    """

    layers: tuple[LayerStatistics, ...]
    used: tuple[str, ...]
    unused: tuple[str, ...]
    contradicted: tuple[str, ...]


@dataclass(frozen=True)
class _Ours:
    """A layer of the model with BatchNorm folded.

    Attributes:
        output: Name of its output.
        operator: ``Conv``, ``ConvTranspose`` or ``Gemm``.
        groups: Of channels.
        weight: As PyTorch stores it.
        rows: The weights, see ``rows_of``.
        bias: (C_out,).
    """

    output: str
    operator: str
    groups: int
    weight: NDArray[np.floating]
    rows: Floats
    bias: Floats


@dataclass(frozen=True)
class _Fit:
    """A BatchNorm that explains a layer.

    Attributes:
        norm: Which.
        eps: With this ε.
        error: Of weights and bias, the larger of the two.
        distance: Between it and the weights in the file.
    """

    norm: TrainedNorm
    eps: float
    error: float
    distance: tuple[int, int]


def lend(weights: Weights, model: ir.Model) -> Lent:
    """Find the BatchNorm layers of a file among the layers of a model, folded or not.

    A layer of the model is W' ∗ x + b' with W'_c = a_c·W_c for each output channel c, where W are
    weights of the file and a_c = γ_c/√(σ_c² + ε) the factor of the BatchNorm behind them.

    1. W is found by its direction in every channel, whatever the factors.
    2. The BatchNorm is the one whose factors and whose b' = β + a·(b − μ) are those of the layer;
       of several (untrained ones), that which stands next to W in the file.
    3. Where no W is parallel, W' may be the sum of branches, see ``Branches``.
    4. A BatchNorm that is behind no layer has become a layer of its own, 1×1 and depthwise.

    Args:
        weights: The file.
        model: The model; it is not changed.
    """
    norms, kernels = norms_of(weights), kernels_of(weights)
    search = _Search(norms, kernels)
    layers: list[LayerStatistics] = []
    for ours in _layers(folded(model)):
        found = search.statistics(ours)
        if found is not None:
            layers.append(found)
    used = tuple(norm.name for norm in norms if search.used[norm.name])
    return Lent(
        layers=tuple(layers),
        used=used,
        unused=(
            *(norm.name for norm in norms if not search.used[norm.name]),
            *(f"{name} (damaged)" for name in damaged_norms(weights, norms)),
        ),
        contradicted=tuple(name for name in dict.fromkeys(search.contradicted) if name not in used),
    )


class _Search:
    """Looks layers up one by one, and counts what has been used."""

    def __init__(self, norms: Sequence[TrainedNorm], kernels: Sequence[TrainedKernel]) -> None:
        self.norms, self.kernels = norms, kernels
        self.used: Counter[str] = Counter()
        self.contradicted: list[str] = []
        self.by_width: dict[int, list[TrainedNorm]] = defaultdict(list)
        for norm in norms:
            self.by_width[len(norm.mean)].append(norm)
        self.branches = Branches.of(norms, kernels)
        self.signatures: dict[tuple[str, int], list[tuple[TrainedKernel, Floats]]] = {}

    def statistics(self, ours: _Ours) -> LayerStatistics | None:
        """What the file says of a layer."""
        parallel = self._parallel(ours)
        fits = [
            fit
            for kernel, factor in parallel
            for fit in self._fits(ours, factor, kernel.bias_or_zero(), kernel)
        ]
        if not fits and ours.operator == "Conv" and ours.rows.shape == (ours.groups, 1):
            alone = factors(ours.rows, np.ones_like(ours.rows))
            fits = [] if alone is None else self._fits(ours, alone, 0.0, None)
        if fits:
            best = min(fit.error for fit in fits)
            close = [fit for fit in fits if fit.error <= 3 * best + 1e-5]
            chosen = min(close, key=lambda fit: (self.used[fit.norm.name], fit.distance, fit.error))
            self.used[chosen.norm.name] += 1
            return chosen.norm.statistics(ours.output, chosen.eps)
        merged = None
        if not parallel and ours.operator == "Conv":
            merged = self.branches.find(ours.output, ours.weight, ours.bias)
        if merged is not None:
            self.used.update(merged.norms)
            return merged.statistics
        self._note_contradiction(ours, parallel)
        return None

    def _parallel(self, ours: _Ours) -> list[tuple[TrainedKernel, Factors]]:
        key = ours.operator, ours.groups if ours.operator == "ConvTranspose" else 1
        found = []
        mark = signature(ours.rows)
        for kernel, other in self._signatures(key):
            if other.shape != mark.shape or kernel.weight.size != ours.rows.size:
                continue
            if not np.linalg.norm(mark - other) <= 2 * TOLERANCE * np.sqrt(len(mark)):
                continue
            factor = factors(ours.rows, rows_of(kernel.weight, *key))
            if factor is not None:
                found.append((kernel, factor))
        return found

    def _signatures(self, key: tuple[str, int]) -> list[tuple[TrainedKernel, Floats]]:
        if key not in self.signatures:
            self.signatures[key] = [
                (kernel, signature(rows_of(kernel.weight, *key)))
                for kernel in self.kernels
                if key[0] != "ConvTranspose" or kernel.weight.shape[0] % key[1] == 0
            ]
        return self.signatures[key]

    def _fits(
        self, ours: _Ours, factor: Factors, before: Floats | float, kernel: TrainedKernel | None
    ) -> list[_Fit]:
        found = []
        for norm in self.by_width[len(ours.rows)]:
            for eps in norm.possible_eps:
                error = max(
                    float(factor.error(norm.factor(eps))), _bias_error(ours, norm, eps, before)
                )
                if error <= TOLERANCE:
                    found.append(_Fit(norm, eps, error, _distance(kernel, norm)))
        return found

    def _note_contradiction(
        self, ours: _Ours, parallel: Sequence[tuple[TrainedKernel, Factors]]
    ) -> None:
        """Note the BatchNorm that stands behind the weights, unless they have none or lost none."""
        for _, factor in parallel:
            if factor.error(np.ones(len(ours.rows))) <= TOLERANCE:
                return  # weights as they are: of a layer without BatchNorm
        for kernel, _ in parallel:
            beside = [n for n in self.by_width[len(ours.rows)] if _distance(kernel, n)[1] < _BESIDE]
            if beside:
                self.contradicted.append(min(beside, key=lambda n: _distance(kernel, n)).name)
                return


_BESIDE = 8
"""Arrays between weights and the BatchNorm behind them: a bias, at most; and those in between."""


def _distance(kernel: TrainedKernel | None, norm: TrainedNorm) -> tuple[int, int]:
    """How far a BatchNorm is from weights: shared modules, then arrays between them in the file."""
    if kernel is None:
        return 0, norm.place
    one, other = kernel.name.split("."), norm.name.split(".")
    shared = sum(np.logical_and.accumulate([a == b for a, b in zip(one, other, strict=False)]))
    return -int(shared), abs(norm.place - kernel.place)


def _bias_error(ours: _Ours, norm: TrainedNorm, eps: float, before: Floats | float) -> float:
    terms = np.linalg.norm(norm.shift) + np.linalg.norm(norm.factor(eps) * (before - norm.mean))
    off = np.linalg.norm(ours.bias - norm.bias(eps, before))
    return float(off / max(float(terms), 1e-6))


def _layers(model: ir.Model) -> list[_Ours]:
    found = []
    for name, layer, weight in known_layers(model):
        bias, operator = layer.bias_vector(), layer.node.op_type
        if bias is not None:
            rows = rows_of(weight, operator, layer.groups)
            found.append(_Ours(name, operator, layer.groups, weight, rows, bias))
    return found
