"""One synthesis step as one ONNX graph: augment, forward, loss, backward, Adam, clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass
from onnx_ir.tape import Tape

from passes.batchnorm_to_conv import BatchNormToConv
from passes.fold_arithmetic import FoldArithmetic
from passes.fold_batchnorm import FoldBatchNorm
from passes.graph import add_initializer, constant
from zqc.autodiff import adam_step, gradient
from zqc.input_format import InputFormat
from zqc.synthesis.statistics import LayerStatistics

STATE = ("pictures", "first_moment", "second_moment")
"""What one step hands to the next: the pictures in [0, 1] and Adam's moments, each (N, C, H, W)."""

_SIGMA = 1.25
"""Of the 3×3 Gaussian, as published (DGH, arXiv 2410.22110)."""


def step_model(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    *,
    shape: tuple[int, int, int, int],
    input_format: InputFormat,
) -> ir.Model:
    """Build the graph of one step on a batch of pictures.

    The pictures live in [0, 1], where every input convention looks the same to the optimiser. Each
    step flips those that ``flips`` marks with 1, smooths them, maps them to the model's input and
    measures, per BatchNorm layer with C channels,

        L = (1/C) Σ_c [ ((m_c − mean_c) / u_c)² + ((s_c − deviation_c) / u_c)² ]

    with m and s the mean and standard deviation over the batch and all positions, and u the layer's
    unit. The loss is the mean over the layers. BatchNorm is folded before it is differentiated: the
    folded output is compared with its own targets, which is the same loss at half of the work.

    Args:
        model: A model with BatchNormalization in it; it is not changed.
        layers: Its statistics.
        shape: Shape of a batch of pictures, (N, C, H, W).
        input_format: How [0, 1] becomes the model's input.

    Returns:
        A model with the inputs of ``STATE``, ``flips`` (N, 1, 1, 1), ``step_size`` and
        ``second_correction`` (scalars), and the outputs ``new_`` + each of ``STATE``, and ``loss``.

    Raises:
        UnsupportedOperatorError: An operator between the input and the last BatchNorm layer has no
            gradient rule.
    """
    copy = _matched_part(model, layers, shape)
    graph = copy.graph
    source = graph.inputs[0]
    matched = {value.name: value for node in graph for value in node.outputs if value.name}
    for value in (*graph.initializers.values(), *matched.values()):
        value.name = f"model/{value.name}"  # apart from the names of the step
    tape = Tape(graph)
    state = [_input(name, shape) for name in STATE]
    flips = _input("flips", (shape[0], 1, 1, 1))
    step_size, correction = _input("step_size", ()), _input("second_correction", ())
    tensor = _augmented(tape, state[0], flips, shape, input_format)
    ir.convenience.replace_all_uses_with(source, tensor)
    graph.inputs.clear()
    graph.inputs.extend([*state, flips, step_size, correction])
    graph.sort()
    loss = _loss(tape, layers, matched)
    graph.outputs.clear()
    graph.outputs.append(loss)
    ShapeInferencePass()(copy)
    (slope,) = gradient(copy, loss, [state[0]])
    stepped = adam_step(copy, state[0], slope, state[1], state[2], step_size, correction)
    bounds = [_number(graph, "pixel_min", 0.0), _number(graph, "pixel_max", 1.0)]
    clipped = tape.op("Clip", [stepped[0], *bounds])
    for name, value in zip(STATE, (clipped, *stepped[1:]), strict=True):
        value.name = f"new_{name}"
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
        graph.outputs.append(value)
    RemoveUnusedNodesPass()(copy)
    return copy


def finish_model(shape: tuple[int, int, int, int], input_format: InputFormat) -> ir.Model:
    """Build the graph from optimised pictures to input tensors: smoothing without flips."""
    pictures = _input("pictures", shape)
    graph = ir.Graph([pictures], [], nodes=[], opset_imports={"": 13}, name="finish")
    tensor = _mapped(Tape(graph), _smoothed(Tape(graph), pictures, shape), input_format, shape[1])
    tensor.name = "tensors"
    tensor.type, tensor.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(shape)
    graph.outputs.append(tensor)
    return ir.Model(graph, ir_version=8)


def _matched_part(
    model: ir.Model, layers: Sequence[LayerStatistics], shape: tuple[int, int, int, int]
) -> ir.Model:
    """The part of the model before the last BatchNorm layers, folded, for one batch size."""
    copy = model.clone()
    graph = copy.graph
    folding = (FoldArithmetic(), FoldBatchNorm(backwards=False), BatchNormToConv())
    ir.passes.Sequential(*folding)(copy)
    wanted = {layer.output for layer in layers}
    graph.outputs.clear()
    graph.outputs.extend(v for node in graph for v in node.outputs if v.name in wanted)
    RemoveUnusedNodesPass()(copy)
    _set_batch(graph, shape)
    ShapeInferencePass()(copy)
    return copy


def _set_batch(graph: ir.Graph, shape: tuple[int, int, int, int]) -> None:
    """Fix the batch size, also where a Reshape names the one it was exported with."""
    source = graph.inputs[0]
    exported = source.shape[0] if source.shape is not None else None
    for node in graph:
        for output in node.outputs:
            output.shape = None
        target = constant(node.inputs[1]) if node.op_type == "Reshape" else None
        if target is not None and len(target) > 1 and target[0] == exported:
            freed = np.concatenate([[0], target[1:]]).astype(np.int64)
            name = f"{node.outputs[0].name}_batch_shape"
            node.replace_input_with(1, add_initializer(graph, name, freed))
    source.shape = ir.Shape(shape)


def _augmented(
    tape: Tape,
    pictures: ir.Value,
    flips: ir.Value,
    shape: tuple[int, int, int, int],
    input_format: InputFormat,
) -> ir.Value:
    graph = _graph(tape)
    mirror = np.arange(shape[3] - 1, -1, -1, dtype=np.int64)
    indices = add_initializer(graph, "mirror", mirror)
    flipped = tape.op("Gather", [pictures, indices], {"axis": 3})
    difference = tape.op("Sub", [flipped, pictures])
    chosen = tape.op("Add", [pictures, tape.op("Mul", [flips, difference])])
    return _mapped(tape, _smoothed(tape, chosen, shape), input_format, shape[1])


def _smoothed(tape: Tape, pictures: ir.Value, shape: tuple[int, int, int, int]) -> ir.Value:
    """3×3 Gaussian over the pixels that exist, so that borders keep their brightness."""
    _, count, height, width = shape
    taps = np.exp(-np.array([1.0, 0.0, 1.0]) / (2 * _SIGMA**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    rows, columns = (
        np.convolve(np.ones(size), taps / taps.sum(), "same") for size in (height, width)
    )
    graph = _graph(tape)
    weight = np.broadcast_to(kernel, (count, 1, 3, 3)).astype(np.float32)
    share = (1 / np.outer(rows, columns)).reshape(1, 1, height, width).astype(np.float32)
    convolved = tape.op(
        "Conv",
        [pictures, add_initializer(graph, "gaussian", weight)],
        {"group": count, "pads": (1, 1, 1, 1), "kernel_shape": (3, 3)},
    )
    return tape.op("Mul", [convolved, add_initializer(graph, "gaussian_share", share)])


def _mapped(tape: Tape, pictures: ir.Value, input_format: InputFormat, count: int) -> ir.Value:
    graph = _graph(tape)
    low, high = (np.asarray(end, np.float32) for end in input_format.bounds(count))
    scaled = tape.op("Mul", [pictures, add_initializer(graph, "pixel_factor", high - low)])
    return tape.op("Add", [scaled, add_initializer(graph, "pixel_offset", low)])


def _loss(tape: Tape, layers: Sequence[LayerStatistics], values: dict[str, ir.Value]) -> ir.Value:
    graph = _graph(tape)
    terms = []
    for layer in layers:
        output = values[layer.output]
        axes, attributes = _axes_but_channels(graph, output, f"{layer.output}_axes")
        unit = layer.unit
        mean = tape.op("ReduceMean", [output, *axes], attributes)
        second = tape.op("ReduceMean", [tape.op("Mul", [output, output]), *axes], attributes)
        variance = tape.op("Sub", [second, tape.op("Mul", [mean, mean])])
        # Rounding may leave a variance below zero; the floor keeps the slope of the root finite.
        floor = _number(graph, f"{layer.output}_floor", 1e-6 * unit**2)
        deviation = tape.op("Sqrt", [tape.op("Max", [variance, floor])])
        for kind, actual, target in (
            ("mean", mean, layer.mean),
            ("deviation", deviation, layer.deviation),
        ):
            goal = _number(graph, f"{layer.output}_{kind}", target)
            factor = _number(graph, f"{layer.output}_{kind}_unit", 1 / unit)
            residual = tape.op("Mul", [tape.op("Sub", [actual, goal]), factor])
            square = tape.op("Mul", [residual, residual])
            terms.append(tape.op("ReduceMean", [square], {"keepdims": 0}))
    total = tape.op("Sum", terms) if len(terms) > 1 else terms[0]
    loss = tape.op("Mul", [total, _number(graph, "per_layer", 1 / len(layers))])
    loss.name = "loss"
    loss.type, loss.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(())
    return loss


def _axes_but_channels(
    graph: ir.Graph, value: ir.Value, name: str
) -> tuple[list[ir.Value], dict[str, int | tuple[int, ...]]]:
    """All axes but 1 for a ReduceMean: an attribute until opset 17, an input from 18 on."""
    assert value.shape is not None
    axes = (0, *range(2, len(value.shape)))
    if graph.opset_imports[""] < 18:
        return [], {"axes": axes, "keepdims": 0}
    return [add_initializer(graph, name, np.array(axes))], {"keepdims": 0}


def _input(name: str, shape: tuple[int, ...]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


def _number(graph: ir.Graph, name: str, number: ArrayLike) -> ir.Value:
    array: NDArray[Any] = np.asarray(number, np.float32)
    return add_initializer(graph, name, array)


def _graph(tape: Tape) -> ir.Graph:
    graph = tape.graph_like
    assert isinstance(graph, ir.Graph)
    return graph
