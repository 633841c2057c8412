"""The BatchNorm statistics that a model carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import nested_inputs, weighted_layers
from passes.canonicalize.affine import from_batchnorm
from passes.graph import constant, name_of
from zqc.errors import NoBatchNormError

_ADVICE = (
    "Calibration pictures are synthesised from the running means and variances in the "
    "BatchNormalization nodes, and folding them into the convolutions cannot be undone.\n"
    "Either give the checkpoint that the model was exported from, which still has them:\n"
    "  --statistics CHECKPOINT.pt (or .pth, .ckpt, .safetensors, .weights of Darknet);\n"
    "or export the model again with BatchNorm kept:\n"
    "  torch.onnx.export(model.eval(), ..., dynamo=False, do_constant_folding=False,\n"
    "                    training=torch.onnx.TrainingMode.PRESERVE)\n"
    "(with onnxsim, --skip-fuse-bn);\n"
    "or give them from elsewhere: --statistics TWIN.onnx, this model before it was folded, or\n"
    "--statistics CARD.json, written by zqc stats where pictures are;\n"
    "or calibrate with pictures of your own: --images DIRECTORY;\n"
    "or, at the risk of lower accuracy, with structured noise: --no-statistics."
)


@dataclass(frozen=True)
class LayerStatistics:
    """What the output y of one BatchNormalization was like over the training set.

    Attributes:
        output: Name of the node's output.
        mean: Mean of y per channel, a·μ + b = β; shape (C,).
        deviation: Standard deviation of y per channel, |a|·σ; shape (C,).
    """

    output: str
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def unit(self) -> NDArray[np.float64]:
        """What deviations from the targets are measured in, per channel.

        The channel's own standard deviation makes channels of any variance weigh the same. A dead
        channel (variance near 0) would then outweigh all others, so a tenth of the layer's root
        mean square deviation is added in quadrature. Our choice, see docs/methods.md.
        """
        floor = max(float(np.mean(self.deviation**2)) * 0.01, 1e-12)
        unit: NDArray[np.float64] = np.sqrt(self.deviation**2 + floor)
        return unit


def harvest(model: ir.Model) -> tuple[LayerStatistics, ...]:
    """Read the statistics of every BatchNormalization, in graph order, before any folding.

    A variance below 0 is not what the layer was like, nor is anything behind it: 1/√(σ² + ε) blows
    up there what hardly varies, and pictures that keep it down show nothing of the real ranges.
    Such layers are left out, unless there are no others.

    Raises:
        NoBatchNormError: The model has none left.
    """
    layers: dict[ir.Node, LayerStatistics] = {}
    doubtful: set[ir.Node] = set()
    for node in model.graph:
        affine, name = from_batchnorm(node), node.outputs[0].name
        mean, variance = (constant(v) for v in node.inputs[3:5]) if affine else (None, None)
        negative = variance is not None and bool((variance < 0).any())
        if negative or any(value.producer() in doubtful for value in nested_inputs(node)):
            doubtful.add(node)
        if affine is None or name is None or mean is None or variance is None:
            continue
        layers[node] = LayerStatistics(
            output=name,
            mean=affine.factor * mean + affine.shift,
            deviation=np.abs(affine.factor) * np.sqrt(np.maximum(variance, 0.0)),
        )
    if not layers:
        raise NoBatchNormError(f"the model has no BatchNormalization left. {_ADVICE}")
    trusted = tuple(layer for node, layer in layers.items() if node not in doubtful)
    return trusted or tuple(layers.values())


def with_sums(
    model: ir.Model, prepared: ir.Model, layers: Sequence[LayerStatistics]
) -> tuple[LayerStatistics, ...]:
    """Add what is known of sums of layers that have become one layer, see ``MergeBranches``.

    The mean of a sum is the sum of the means. Its variance is that of independent terms.

    Args:
        model: The model that the layers are in, nothing merged.
        prepared: The same model, branches merged into layers with the names of their sums.
        layers: The statistics of the layers.
    """
    merged = {name_of(node.outputs[0]) for node in weighted_layers(prepared.graph)}
    known = {layer.output: layer for layer in layers}
    sums: list[LayerStatistics] = []
    for node in model.graph:
        if node.op_type not in ("Add", "Sum") or node.domain != "":
            continue
        terms = [known.get(name_of(value)) for value in node.inputs]
        found = [term for term in terms if term is not None]
        name = name_of(node.outputs[0])
        if name in known or len(found) < len(terms) or len({len(t.mean) for t in found}) != 1:
            continue
        mean = np.sum([term.mean for term in found], axis=0)
        deviation = np.sqrt(np.sum([term.deviation**2 for term in found], axis=0))
        known[name] = LayerStatistics(name, mean, deviation)
        if name in merged:
            sums.append(known[name])
    return (*layers, *sums)
