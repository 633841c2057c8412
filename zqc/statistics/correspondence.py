"""The layers of a network, recognised in another file of it by their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import is_expectation, weighted_layers
from passes.canonicalize.fold_arithmetic import FoldArithmetic
from passes.canonicalize.fold_batchnorm import FoldBatchNorm
from passes.canonicalize.merge_branches import MergeBranches
from passes.layers import Layer, layer_of
from zqc.errors import StatisticsError
from zqc.statistics.network import fold_batchnorm

_TOLERANCE = 1e-3
"""Of a fingerprint, in units of its norm: folding in float32 changes 1e-6, training on far more."""

_NO_BIAS = 1e-6
"""Norm below which a bias counts as none: what is left where two constants cancel."""


@dataclass(frozen=True)
class Fingerprint:
    """The norm of an array v and its component along a fixed direction, c = Σ_k v_k·exp(i·k).

    A change of v by a share δ of its norm, in a direction that knows nothing of c, moves c by about
    the same share. The numbers identify weights without repeating them.

    Attributes:
        norm: √(Σ v²).
        real: Real part of c.
        imaginary: Its imaginary part.
    """

    norm: float
    real: float
    imaginary: float

    @classmethod
    def of(cls, array: NDArray[np.floating]) -> Fingerprint:
        """Take the fingerprint of an array of any shape."""
        flat = array.astype(np.float64).reshape(-1)
        component = complex(flat @ np.exp(1j * np.arange(flat.size)))
        return cls(float(np.linalg.norm(flat)), component.real, component.imag)

    def is_near(self, other: Fingerprint) -> bool:
        """Whether both may be of the same array, computed in float32 in different ways."""
        bound = _TOLERANCE * max(self.norm, other.norm) + _NO_BIAS
        return (
            abs(self.norm - other.norm) <= bound
            and abs(self.real - other.real) <= bound
            and abs(self.imaginary - other.imaginary) <= bound
        )


@dataclass(frozen=True)
class LayerIdentity:
    """A layer with everything folded into it that can be, and what it is recognised by.

    Attributes:
        output: Name of its output, a value of the model that nothing was folded in yet.
        operator: ``Conv``, ``ConvTranspose`` or ``Gemm``.
        shape: Shape of its weights; of a Gemm, (outputs, inputs).
        channels: Channels of its output.
        weights: Fingerprint of the weights.
        bias: Fingerprint of the bias; of 0 where there is none.
    """

    output: str
    operator: str
    shape: tuple[int, ...]
    channels: int
    weights: Fingerprint
    bias: Fingerprint

    def __str__(self) -> str:
        """Name, operator and weights in words."""
        return f"{self.output!r} ({self.operator} {'x'.join(map(str, self.shape))})"


def folded(model: ir.Model, *, merged: bool = False) -> ir.Model:
    """Return a copy in which every BatchNormalization is part of a layer.

    The same network with and without BatchNorm comes out alike, see ``fold_batchnorm``.

    Args:
        model: The network.
        merged: Whether parallel branches become one layer, too, see ``MergeBranches``: then a
            network comes out as its own re-parameterised form does.
    """
    copy = model.clone()
    if merged:
        steps = FoldArithmetic(), FoldBatchNorm(backwards=False), MergeBranches()
        ir.passes.Sequential(*steps)(copy)
    fold_batchnorm(copy)
    return copy


def layers_of(model: ir.Model) -> tuple[LayerIdentity, ...]:
    """Return the Conv, ConvTranspose and Gemm of a folded model, in graph order.

    Layers with computed weights and expectations over bins (DFL), which belong to the decoding of
    the boxes, are left out.
    """
    found = []
    for name, layer, weight in known_layers(model):
        prints = [Fingerprint.of(np.zeros(1) if v is None else v) for v in (weight, layer.bias)]
        operator, shape = layer.node.op_type, tuple(weight.shape)
        found.append(LayerIdentity(name, operator, shape, layer.outputs, *prints))
    return tuple(found)


def known_layers(model: ir.Model) -> Iterator[tuple[str, Layer, NDArray[np.floating]]]:
    """Yield the layers of ``layers_of``: name of the output, layer, weights.

    However a Gemm stores its weights, its outputs come first here.
    """
    for node in weighted_layers(model.graph):
        layer, name = layer_of(node), node.outputs[0].name
        if node.op_type == "MatMul" or layer is None or not name or is_expectation(node):
            continue
        turned = node.op_type == "Gemm" and layer.output_axis
        yield name, layer, layer.weight.T if turned else layer.weight


def corresponding(
    theirs: Sequence[LayerIdentity], ours: Sequence[LayerIdentity], source: str
) -> tuple[str | None, ...]:
    """Find each of their layers among ours: one of equal weights that no other has taken.

    1. The one whose output has the same name.
    2. Else, since exporters rename values, the first in graph order: layers that share their
       weights, as the heads of a RetinaNet do, stand in the same order in both.

    Layers without a counterpart may be left over, such as heads for training alone.

    Args:
        theirs: Layers that a file speaks of.
        ours: The layers of the model.
        source: The file, for messages.

    Returns:
        The names of our outputs, in their order; None for layers without a counterpart.

    Raises:
        StatisticsError: Names the first layer without one, where no layer has one, or as many as
            have one have other weights than all of their kind in the model.
    """
    free = list(ours)
    names: list[str | None] = []
    missing: list[LayerIdentity] = []
    for layer in theirs:
        equal = [other for other in free if _equal(layer, other)]
        if not equal:
            missing.append(layer)
            names.append(None)
            continue
        chosen = next((other for other in equal if other.output == layer.output), equal[0])
        free.remove(chosen)
        names.append(chosen.output)
    trained = sum(any(_alike(layer, other) for other in ours) for layer in missing)
    if missing and trained >= len(theirs) - len(missing):
        raise StatisticsError(_why_not(missing[0], ours, source))
    return tuple(names)


def _equal(one: LayerIdentity, other: LayerIdentity) -> bool:
    return (
        _alike(one, other) and one.weights.is_near(other.weights) and one.bias.is_near(other.bias)
    )


def _alike(one: LayerIdentity, other: LayerIdentity) -> bool:
    return (one.operator, one.shape, one.channels) == (other.operator, other.shape, other.channels)


def _why_not(layer: LayerIdentity, ours: Sequence[LayerIdentity], source: str) -> str:
    remedy = "give the statistics of this very network, with the same weights"
    same_name = next((other for other in ours if other.output == layer.output), None)
    if same_name is not None and not _alike(layer, same_name):
        return f"layer {layer} of {source} is {same_name} in the model; {remedy}"
    if any(_alike(layer, other) for other in ours):
        return (
            f"layer {layer} of {source} has other weights than every such layer of the model, "
            f"so one of the two was trained further or is another network; {remedy}"
        )
    return f"layer {layer} of {source} does not exist in the model; {remedy}"
