"""Weights and biases that make up for the errors of everything before them, in closed form."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import QuantizeWeights
from passes.analysis.topology import (
    first_last_layers,
    is_expectation,
    is_weighted,
    weighted_layers,
    with_all_behind,
)
from passes.graph import Namer
from passes.layers import Layer, along, by_weight, layer_of
from passes.operators import PICKING
from passes.qdq import dequantized_scale
from passes.quantize.quantize_weights import rounded_weight
from zqc.pictures.batches import Batches
from zqc.quantization.paired_inputs import Inputs, paired_inputs

if TYPE_CHECKING:
    from zqc.progress import Task

RIDGE = 0.5
"""How much a weight is held where it is, in mean variances of its inputs. Measured: from 0.1 to 0.5
alike with activations of 8 bits, 0.5 better with 4 bits."""

_PICTURES = 64
"""Pictures that are looked at; more cost time and hardly change second moments."""


def reconstruct(
    model: ir.Model,
    activations_quantized: ir.Model,
    batches: Batches,
    *,
    refit: bool,
    compensate: bool = True,
    bits: int = 8,
    first_last_bits: int = 8,
    bits_of: Mapping[str, int] | None = None,
    excluded: Collection[str] = (),
    per_tensor: Collection[str] = (),
    int4: bool = True,
    log_affine: bool = False,
    samples: int,
    task: Task,
    threads: int | None = None,
    seed: int = 0,
) -> ir.Model:
    """Quantize the weights layer by layer, each for the inputs that the layers before it leave.

    With x the input columns of a layer in the float model and x̂ those in the model as it is
    quantized so far, means μ and μ̂, C and D as in ``Inputs``:

    1. Refitted weights W* = W + W·D·(C + λI)⁻¹, λ = ``RIDGE``·tr(C)/K, minimise
       E|W(x − μ) − W*(x̂ − μ̂)|² + λ|W* − W|². They are rounded with compensation under C (GPTQ,
       arXiv 2210.17323). The target being the output of the float model is the asymmetric
       calibration of GPTAQ (arXiv 2504.02692); the closed form before rounding is ours.
    2. The bias b* = b + Wμ − Q(W*)μ̂ gives each output channel the mean that it has in float. So
       it does where weights are not refitted, W* = W.
    3. A layer without columns (``input_columns``: ConvTranspose, automatic padding, …) keeps W* = W
       and takes μ and μ̂ per channel.
    4. Only rounded are layers whose bias cannot be changed (MatMul), and the expectation over bins
       that belongs to the decoding of boxes: most positions have no box, and a bias that is right
       in the mean over all of them moves every box.
    5. So are layers behind an operator that picks by value (TopK selects the queries of RT-DETR):
       the model as it is quantized picks others, or in another order, so that x̂ is not of x.
    6. Layers that share their weight get one W*, with the means of their C and of their D, and a
       bias each. Where one of them cannot be refitted, they are only rounded.

    Layers of which none depends on another are looked at together.

    Args:
        model: The float model that is quantized.
        activations_quantized: The same with its activations behind QuantizeLinear and
            DequantizeLinear. Layers are recognised by their names.
        batches: The calibration set, of which 64 pictures are used.
        refit: Whether the weights are refitted, or only the biases.
        compensate: Whether weights are rounded with compensation, or to the nearest step.
        bits: Bits of the weights, 2 to 8.
        first_last_bits: Bits of the weights of the first and the last layers.
        bits_of: Bits of single layers by name, whatever ``bits`` and ``first_last_bits`` say.
        excluded: Names of nodes that stay float.
        per_tensor: As ``QuantizeWeights`` has it.
        int4: Likewise.
        log_affine: Likewise.
        samples: Output positions per picture at which the input of each layer is looked at.
        task: Advanced by the number of weighted layers in all.
        threads: Threads of ONNX Runtime.
        seed: Of the positions.

    Returns:
        The canonical quantized model.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    quantized = activations_quantized.clone()
    first_last = first_last_layers(model.graph)
    layers = weighted_layers(model.graph)
    widths = {node.name or "": first_last_bits if node in first_last else bits for node in layers}
    widths |= bits_of or {}
    twins = {node.name or "": node for node in weighted_layers(quantized.graph)}
    todo = {n for n, twin in twins.items() if n not in excluded and _is_quantizable(twin)}
    name = Namer(quantized.graph)
    generator = np.random.default_rng(seed)
    pictures = batches.first(_PICTURES)
    picked = set(with_all_behind(model.graph, [n for n in model.graph if n.op_type in PICKING]))
    task.advance(steps=len(layers) - len(todo))
    for stage in _stages(model.graph, todo):
        pairs = [(layer.node, twins[layer.node.name or ""]) for group in stage for layer in group]
        seen: dict[str | None, Inputs] = {}
        if free := [pair for pair in pairs if pair[0] not in picked and _is_free(*pair)]:
            inputs = paired_inputs(
                model,
                quantized,
                free,
                pictures,
                samples=samples,
                generator=generator,
                threads=threads,
            )
            seen = {node.name: of for (node, _), of in zip(free, inputs, strict=True)}
        for group in stage:
            names = [layer.node.name or "" for layer in group]
            _reconstruct_layers(
                [twins[each] for each in names],
                [seen.get(each) for each in names],
                max(widths[each] for each in names),
                name,
                refit=refit,
                compensate=compensate,
                per_tensor=group[0].node.op_type in per_tensor,
                log_affine=log_affine,
            )
            for each in names:
                task.advance(each)
    # Every weight is on a grid by now, so that this only writes it down as integers.
    QuantizeWeights(
        bits_of=widths, excluded=excluded, per_tensor=per_tensor, int4=int4, log_affine=log_affine
    )(quantized)
    RemoveUnusedNodesPass()(quantized)
    return quantized


def refitted(
    rows: NDArray[np.float64], covariance: NDArray[np.float64], drift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return W* = W + W·D·(C + λI)⁻¹ for rows W, shape (groups, blocks, R, K): see above."""
    size = covariance.shape[-1]
    strength = RIDGE * np.trace(covariance, axis1=-2, axis2=-1) / size
    strength = np.where(strength > 0, strength, 1.0)[..., None, None]  # nothing was seen, D = 0
    damped = covariance + strength * np.eye(size)
    change = np.linalg.solve(damped, (rows @ drift).swapaxes(-1, -2))
    return np.asarray(rows + change.swapaxes(-1, -2), np.float64)


def _is_quantizable(node: ir.Node) -> bool:
    return dequantized_scale(node.inputs[0]) is not None and layer_of(node) is not None


def _is_free(node: ir.Node, twin: ir.Node) -> bool:
    """Whether weights and bias of a layer may change."""
    layer = layer_of(twin)
    return layer is not None and layer.bias_vector() is not None and not is_expectation(node)


def _stages(graph: ir.Graph, names: Collection[str]) -> list[list[tuple[Layer, ...]]]:
    """The named layers by weight, those together that have as many layers before them at most.

    Layers that share a weight come with the last of them, and whatever is behind one of them comes
    later. Where one is behind another, the weight is settled before all of its inputs are.
    """
    named = [node for node in weighted_layers(graph) if node.name in names]
    groups = by_weight(named)
    group_of = {layer.node: i for i, group in enumerate(groups) for layer in group}
    fixed: dict[int, int] = {}
    for _ in groups:
        stages: dict[int, int] = {}
        depths: dict[ir.Node, int] = {}
        for node in graph:
            producers = [value.producer() for value in node.inputs if value is not None]
            before = max((depths[p] for p in producers if p is not None), default=0)
            group = group_of.get(node)
            if group is not None:
                stages[group] = max(stages.get(group, 0), before)
                before = max(before, fixed.get(group, 0))
            depths[node] = before + is_weighted(node)
        if stages == fixed or len(groups) == len(named):
            fixed = stages
            break
        fixed = stages
    return [
        [group for i, group in enumerate(groups) if fixed[i] == depth]
        for depth in sorted(set(fixed.values()))
    ]


def _reconstruct_layers(
    nodes: Sequence[ir.Node],
    seen: Sequence[Inputs | None],
    bits: int,
    name: Namer,
    *,
    refit: bool,
    compensate: bool,
    per_tensor: bool,
    log_affine: bool,
) -> None:
    """Put weights on a grid of so many bits, and the bias b* of ``reconstruct``, into layers.

    Args:
        nodes: The layers, which share their weight.
        seen: The inputs of each; None where it is only rounded.
        bits: Bits of the weights.
        name: Names the new constants.
        refit: As in ``reconstruct``; ``compensate`` and ``per_tensor`` likewise.
        compensate: Likewise.
        per_tensor: Likewise.
        log_affine: Likewise.
    """
    (layers,) = by_weight(nodes)
    steps_of = [dequantized_scale(node.inputs[0]) for node in nodes]
    readers = [(x, step) for x, step in zip(layers, steps_of, strict=True) if step is not None]
    weight, axis = layers[0].weight, layers[0].output_axis
    wanted, moments = weight, None
    known = [
        (of.mean, of.covariance, of.drift)
        for of in seen
        if of is not None and of.covariance is not None and of.drift is not None
    ]
    if len(known) == len(nodes):
        mean, covariance, drift = (np.mean(arrays, axis=0) for arrays in zip(*known, strict=True))
        moments = covariance if compensate else None
        if refit:
            rows = refitted(_rows(weight, axis, mean), covariance, drift)
            moved = np.moveaxis(weight, axis, 0).shape
            wanted = np.moveaxis(rows.swapaxes(1, 2).reshape(moved), 0, axis)
    integers, steps = rounded_weight(
        readers,
        wanted,
        bits=bits,
        moments=moments,
        per_tensor=per_tensor,
        log_affine=log_affine,
    )
    on_grid = integers * along(axis, steps, weight.ndim)
    for layer, inputs in zip(layers, seen, strict=True):
        bias = layer.bias_vector()
        if inputs is not None and bias is not None:
            bias += _output_mean(layer, weight, inputs.mean)
            bias -= _output_mean(layer, on_grid, inputs.quantized_mean)
            layer.set_bias(bias, name)
    layers[0].set_weight(on_grid, name)
    for layer in layers[1:]:
        layer.take_weight(layers[0])


def _rows(
    weight: NDArray[np.floating], axis: int, mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weight with its outputs in rows, (groups, blocks, R, K), for columns with that mean."""
    groups, blocks, size = mean.shape
    moved = np.moveaxis(weight, axis, 0).astype(np.float64)
    return moved.reshape(groups, -1, blocks, size).swapaxes(1, 2)


def _output_mean(
    layer: Layer, weight: NDArray[np.floating], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Wμ per output channel, for a mean of the columns or of the channels (``Inputs``)."""
    if mean.ndim == 1:
        return layer.mean_shift(weight, mean)
    products = _rows(weight, layer.output_axis, mean) @ mean[..., None]
    return np.asarray(products.sum(axis=1).reshape(-1), np.float64)
