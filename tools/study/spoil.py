"""Quantized files with one thing broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from zqc.runtime import session

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")

Spoil = Callable[[onnx.ModelProto], None]
"""Breaks a model in place."""


def spoiled(source: Path, target: Path, spoil: Spoil) -> Path:
    """Write a broken copy of a quantized file."""
    model = onnx.load(source)
    spoil(model)
    onnx.save(model, target)
    return target


def layers(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Every layer with the DequantizeLinear of its weight."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type in _WEIGHTED:
            weight = _dequantized(makers, node.input[1])
            if weight is not None:
                found.append((node, weight))
    return found


def scale_off(index: int, factor: float) -> Spoil:
    """The scale of the weights of one layer, by its place among all, is off by a factor."""

    def spoil(model: onnx.ModelProto) -> None:
        _, weight = layers(model)[index]
        scale = _value(model, weight.input[1]) * np.float32(factor)
        weight.input[1] = _constant(model, "spoiled_scale", scale.astype(np.float32))

    return spoil


def permuted_classes(order: list[int]) -> Spoil:
    """The scores of classes stand in another order behind the four rows of boxes."""

    def spoil(model: onnx.ModelProto) -> None:
        name = _behind(model)
        rows = np.array([0, 1, 2, 3, *(4 + place for place in order)])
        indices = _constant(model, "spoiled_order", rows)
        output = model.graph.output[0].name
        model.graph.node.append(helper.make_node("Gather", [name, indices], [output], axis=1))

    return spoil


def one_scale(model: onnx.ModelProto) -> None:
    """Boxes and scores share one scale, as other tools have it by default."""
    name, output = _behind(model), model.graph.output[0].name
    largest = max(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    scale = _constant(model, "spoiled_scale", np.float32(largest / 255))
    zero = _constant(model, "spoiled_zero", np.uint8(0))
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", [name, scale, zero], ["spoiled_codes"]),
            helper.make_node("DequantizeLinear", ["spoiled_codes", scale, zero], [output]),
        ]
    )


def swapped_heads(first: str, second: str) -> Spoil:
    """Two layers have each other's weights and biases."""

    def spoil(model: onnx.ModelProto) -> None:
        nodes = {node.name: node for node in model.graph.node}
        one, other = nodes[first], nodes[second]
        for place in (1, 2):
            one.input[place], other.input[place] = other.input[place], one.input[place]
        graph = ir.from_proto(model)
        graph.graph.sort()
        model.CopyFrom(ir.to_proto(graph))

    return spoil


def _dequantized(makers: dict[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    node = makers.get(name)
    while node is not None and node.op_type != "DequantizeLinear":
        node = makers.get(node.input[0])
    return node


def _behind(model: onnx.ModelProto) -> str:
    """Rename what makes the first output, so that something can be put behind it."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output:
                node.output[index] = f"{output}_before"
    return f"{output}_before"


def _constant(model: onnx.ModelProto, name: str, value: NDArray[np.generic]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def _value(model: onnx.ModelProto, name: str) -> NDArray[np.floating]:
    """A value that depends on constants alone."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(onnx.ValueInfoProto(name=name))
    runner = session.load(copy.SerializeToString(), outputs=[name])
    shapes = {one.name: one.shape for one in runner.session.get_inputs()}
    zeros = {
        name: np.zeros([size if isinstance(size, int) else 1 for size in shape], np.float32)
        for name, shape in shapes.items()
    }
    return runner(zeros)[name]
