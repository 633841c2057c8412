"""One step of the synthesis as one writes it in PyTorch: what zqc's own is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tools.reference.onnx_to_torch import TorchTwin
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.network import matched_part
from zqc.synthesis.matching import Targets


class TorchSynthesis:
    """Pictures, all in one batch, that Adam optimises against the statistics of a model.

    It is the loss of ``zqc.synthesis.objective.step_model`` without augmentation: E[x] and E[x²] of
    the output of every BatchNormalization, as a forward hook would see it, pooled with constants of
    the rest of the set. Gradients go to the pictures alone, and what comes after the last of these
    layers is not run. Of the ways to write it that we tried on the example, this is the fastest:
    moments by ``torch.var_mean`` and tensors in channels-last order were slower.
    """

    def __init__(
        self,
        model: ir.Model,
        layers: Sequence[LayerStatistics],
        pictures: NDArray[np.float32],
        *,
        folded: bool = False,
        dtype: torch.dtype = torch.float32,
        rate: float = 0.1,
    ) -> None:
        names = [layer.output for layer in layers]
        if folded:
            part, values = matched_part(model, names, pictures.shape)
            self._hooked = [values[name].name for name in names]
        else:
            part, self._hooked = _up_to(model, names), names
        _use_swish(part.graph)
        self._input = part.graph.inputs[0].name
        self._twin = TorchTwin(part, dtype)
        targets = Targets.of(layers)
        self._mean, self._deviation, self._inverse_unit, self._floor, self._weight = (
            torch.tensor(vector, dtype=dtype)
            for vector in (
                targets.mean,
                targets.deviation,
                1 / targets.unit,
                targets.variance_floor,
                targets.mean_weight,
            )
        )
        self._others = torch.zeros(2, len(targets.mean), dtype=dtype)
        self._share = 1.0  # of the batch in the set
        self._scale = pictures.size  # slopes of the order of 1, as in zqc
        self.pictures = torch.tensor(pictures, dtype=dtype, requires_grad=True)
        self._adam = torch.optim.Adam([self.pictures], lr=rate)

    def step(self) -> float:
        """Let every picture make one step and return the loss before it."""
        self._adam.zero_grad()
        hooked = self._twin({self._input: self.pictures}, self._hooked).values()
        loss = self._loss(list(hooked))
        (loss * self._scale).backward()
        self._adam.step()
        with torch.no_grad():
            self.pictures.clamp_(0, 1)
        return loss.item()

    @property
    def gradient(self) -> NDArray[np.floating]:
        """Of the loss times the number of pixels in the set, at the last step's beginning."""
        assert self.pictures.grad is not None
        return self.pictures.grad.numpy()

    def _loss(self, hooked: Sequence[torch.Tensor]) -> torch.Tensor:
        axes = [(0, *range(2, x.ndim)) for x in hooked]
        pairs = list(zip(hooked, axes, strict=True))
        first = torch.cat([x.mean(axis) for x, axis in pairs])
        second = torch.cat([(x * x).mean(axis) for x, axis in pairs])
        first = first * self._share + self._others[0]
        second = second * self._share + self._others[1]
        deviation = (second - first * first).clamp_min(self._floor).sqrt()
        off_mean = (first - self._mean) * self._inverse_unit
        off_deviation = (deviation - self._deviation) * self._inverse_unit
        return (self._weight * (off_mean.square() + off_deviation.square())).sum()


def _up_to(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """The part of a model that computes some values, as it is."""
    part = model.clone()
    part.graph.outputs[:] = [v for node in part.graph for v in node.outputs if v.name in names]
    RemoveUnusedNodesPass()(part)
    return part


def _use_swish(graph: ir.Graph) -> None:
    """Write x · sigmoid(x) as the one operator that a PyTorch module has for it."""
    for node in list(graph):
        gate = node.inputs[1].producer() if node.op_type == "Mul" else None
        if gate is None or gate.op_type != "Sigmoid" or gate.inputs[0] is not node.inputs[0]:
            continue
        swish = ir.node("Swish", [gate.inputs[0]])
        swish.outputs[0].name = node.outputs[0].name
        ir.convenience.replace_nodes_and_values(
            graph, node, [node], [swish], node.outputs, swish.outputs
        )
        if not gate.outputs[0].uses():
            graph.remove(gate, safe=True)
