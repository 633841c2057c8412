"""What the runners share. They run in the peers' environments, of which only onnx and numpy count.

A runner is called as ``python run_PEER.py MODEL PICTURES OUTPUT CONFIG``: a float ONNX file, an
``.npz`` with one array N,C,H,W of ready input tensors, the file to write, and a JSON object of
options. The last line that it prints is a JSON object with the processor seconds that it took, from
reading the model to the file written, imports not counted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
LAYOUT = ("Reshape", "Transpose")

Feed = dict[str, np.ndarray]
Quantize = Callable[[Path, list[Feed], Path, dict[str, Any]], None]


class Reader:
    """The pictures one by one, as ONNX Runtime and Quark want to be given them."""

    def __init__(self, feeds: list[Feed]) -> None:
        self.feeds = feeds
        self.rewind()

    def get_next(self) -> Feed | None:
        """The next picture, or None after the last one."""
        return next(self.left, None)

    def rewind(self) -> None:
        """Begin again."""
        self.left = iter(self.feeds)

    def __len__(self) -> int:
        return len(self.feeds)


def run(quantize: Quantize) -> None:
    """Do what the arguments of the command say, and print the seconds."""
    model, pictures, output, config = sys.argv[1:]
    with np.load(pictures) as arrays:
        (name,) = arrays
        tensors = arrays[name]
    feeds = [{name: tensor[None]} for tensor in tensors]
    started = processor_seconds()
    quantize(Path(model), feeds, Path(output), json.loads(config))
    print(f"\n{json.dumps({'seconds': processor_seconds() - started})}", flush=True)


def processor_seconds() -> float:
    """The time that processors have worked for this process and for its children that ended."""
    return sum(os.times()[:4])


def batched(model: onnx.ModelProto, feeds: list[Feed], size: int) -> list[Feed]:
    """The pictures in batches of ``size``, or one by one where the model's batch is fixed."""
    if model.graph.input[0].type.tensor_type.shape.dim[0].dim_value:
        return feeds
    parts = [feeds[start : start + size] for start in range(0, len(feeds), size)]
    return [{name: np.concatenate([f[name] for f in p]) for name in p[0]} for p in parts]


def post_processing(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from which no layer is reachable: they decode boxes and scores.

    Args:
        model: A graph without subgraphs whose nodes are sorted and named.
    """
    layers, reaching = _layers(model.graph), set()
    names = []
    for node in reversed(model.graph.node):
        if node.name in layers or reaching.intersection(node.output):
            reaching.update(node.input)
        else:
            names.append(node.name)
    return names[::-1]


def constant(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that no picture reaches, such as those that say how far a Resize goes.

    Args:
        model: As for ``post_processing``.
    """
    reached = {graph_input.name for graph_input in model.graph.input}
    names = []
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
        else:
            names.append(node.name)
    return names


def edges(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The layers that no other layer comes before or after: what zqc, too, keeps at 8 bits."""
    layers, nodes = _layers(model.graph), list(model.graph.node)
    behind: set[str] = set()
    before: set[str] = set()
    first, last = set(), set()
    for node in nodes:
        follows = not behind.isdisjoint(node.input)
        if node.name in layers and not follows:
            first.add(node.name)
        if node.name in layers or follows:
            behind.update(node.output)
    for node in reversed(nodes):
        leads = not before.isdisjoint(node.output)
        if node.name in layers and not leads:
            last.add(node.name)
        if node.name in layers or leads:
            before.update(node.input)
    return [node for node in nodes if node.name in first | last]


def wide_activations(model: onnx.ModelProto) -> set[str]:
    """Names of the activations that zqc keeps at 8 bits where the others have 4.

    They are inputs and outputs of ``edges``, the latter behind their SiLU, and what stands inside
    of a SiLU: x and its sigmoid.

    Args:
        model: As for ``post_processing``; BatchNorm is folded.
    """
    sigmoids = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Sigmoid"}
    at_edges = {name for layer in edges(model) for name in (layer.input[0], layer.output[0])}
    wide = set(at_edges)
    for node in model.graph.node:
        gates = [name for name in node.input if sigmoids.get(name) in node.input]
        for gate in gates if node.op_type == "Mul" else ():
            wide.update((gate, sigmoids[gate]))
            if sigmoids[gate] in at_edges:
                wide.update(node.output)
    return wide


def keep_in_bytes(model: onnx.ModelProto) -> None:
    """Let activations of 4 bits be stored as 8: clipped to their range first, so the same values.

    ONNX Runtime loads no file in which a MaxPool reads a tensor of 4 bits.

    Args:
        model: A QDQ graph whose 4-bit activations are unsigned, each on one grid.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = list(model.graph.node)
    narrow = [
        node
        for node in nodes
        if node.op_type == "QuantizeLinear"
        and constants[node.input[2]].data_type == onnx.TensorProto.UINT4
    ]
    for node in narrow:
        value, scale, zero = node.input
        step, shift = (onnx.numpy_helper.to_array(constants[name]) for name in (scale, zero))
        bounds = {
            f"{node.output[0]}_{end}": step * np.float32(code - int(shift))
            for end, code in (("lowest", 0), ("highest", 15))
        }
        node.input[0] = f"{node.output[0]}_clipped"
        nodes.insert(
            nodes.index(node), onnx.helper.make_node("Clip", [value, *bounds], node.input[:1])
        )
        model.graph.initializer.extend(
            onnx.numpy_helper.from_array(bound, name) for name, bound in bounds.items()
        )
    for zero in {node.input[2] for node in narrow}:
        shift = onnx.numpy_helper.to_array(constants[zero])
        constants[zero].CopyFrom(onnx.numpy_helper.from_array(shift.astype(np.uint8), zero))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _layers(graph: onnx.GraphProto) -> set[str]:
    """Names of all Conv, ConvTranspose, Gemm and MatMul but the expectations.

    An expectation is a Conv of one output channel that reads a Softmax: the DFL of YOLOv8, which is
    part of the decoding. Leaving it in float, and what lies before it, too, helps all peers much.
    """
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    probabilities: set[str] = set()
    found = set()
    for node in graph.node:
        reads = not probabilities.isdisjoint(node.input[:1])
        if node.op_type == "Softmax" or (reads and node.op_type in LAYOUT):
            probabilities.update(node.output)
        elif node.op_type in WEIGHTED and not (
            reads and node.op_type == "Conv" and rows.get(node.input[1]) == 1
        ):
            found.add(node.name)
    return found
