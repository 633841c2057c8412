"""Parallel linear branches that are added become one convolution."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.canonicalize.affine import from_batchnorm
from passes.graph import Namer, add_initializer, ints, name_of, rank, replace, sole_consumer
from passes.layers import layer_of

logger = logging.getLogger(__name__)

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MergeBranches(ir.passes.InPlacePass):
    """Write Σ_j (W_j ∗ x + b_j) as (Σ_j W_j) ∗ x + Σ_j b_j. Exact up to float rounding.

    Networks such as RepVGG, and the RepConv of detectors, train a 3×3 Conv, a 1×1 Conv and an
    identity with BatchNorm side by side, to be added up into one Conv once they are trained. A
    kernel whose taps lie among those of a larger one is that larger kernel with zeros.

    1. Convs with constant weights and BatchNormalizations (1×1, depthwise) that read the same
       tensor with the same strides, at least two, whose results only one sum reads. A sum may be
       several Adds.
    2. The tensor itself in such a sum: 1 on the diagonal.
    3. More groups become fewer, with zeros, if the kernel has no more weights than all had before.
    4. Declined: one Conv and the tensor itself (a shortcut, which is better kept out of the grid of
       the weights), sums with other terms, that broadcast, or whose shapes are unknown, dilations
       that differ, ``auto_pad`` (see ``ExplicitPads``), and kernels that would have more weights
       than before, such as 1×3 and 3×1.

    The Conv has the name of the branch with the largest kernel, and its output that of the sum.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every sum, the longest first."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in reversed(list(graph)):
            if node.graph is not graph or not _is_sum(node):
                continue
            nodes: list[ir.Node] = []
            terms = _terms(node, nodes)
            merged = _merged(terms)
            if merged is not None:
                _write(graph, nodes, terms, merged, name)
                modified = True
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Axis:
    """Taps of one axis: for output q, tap i reads input s·q + first + i·dilation."""

    taps: int
    dilation: int
    first: int
    stride: int
    after: int

    @property
    def last(self) -> int:
        """What the last tap reads for output 0."""
        return self.first + (self.taps - 1) * self.dilation


@dataclass(frozen=True)
class _Branch:
    """A convolution of a tensor.

    Attributes:
        node: What computes it; None for the tensor itself.
        source: The tensor.
        weight: (C_out, C_in/groups, rows, columns).
        bias: (C_out,).
        groups: Groups of channels.
        axes: Rows and columns.
    """

    node: ir.Node | None
    source: ir.Value
    weight: _Floats
    bias: _Floats
    groups: int
    axes: tuple[_Axis, ...]


_POINT = _Axis(1, 1, 0, 1, 0)


def _is_sum(node: ir.Node) -> bool:
    """Whether it adds tensors of rank 4, all of the shape of the result, which is known."""
    if node.op_type not in ("Add", "Sum") or node.domain != "" or rank(node.outputs[0]) != 4:
        return False
    shape = node.outputs[0].shape
    return all(v is not None and v.shape is not None and v.shape == shape for v in node.inputs)


def _terms(root: ir.Node, nodes: list[ir.Node]) -> list[ir.Value]:
    """What is added up; the Adds in between, which nobody else reads, are put into ``nodes``."""
    nodes.append(root)
    terms: list[ir.Value] = []
    for value in root.inputs:
        assert value is not None  # it is a sum
        node = value.producer()
        inner = node is not None and node.graph is root.graph and _is_sum(node)
        if node is not None and inner and sole_consumer(value) is root:
            terms += _terms(node, nodes)
        else:
            terms.append(value)
    return terms


def _branch(value: ir.Value) -> _Branch | None:
    """The branch that a value comes from, where only a sum reads it."""
    node = value.producer()
    if node is None or sole_consumer(value) is None:
        return None
    affine = from_batchnorm(node)
    if affine is not None:
        weight = affine.factor.reshape(-1, 1, 1, 1)
        at = (_POINT, _POINT)
        return _Branch(node, affine.source, weight, affine.shift, len(weight), at)
    layer = layer_of(node)
    source = node.inputs[0] if node.inputs else None
    if layer is None or source is None or node.op_type != "Conv" or layer.weight.ndim != 4:
        return None
    auto = node.attributes.get("auto_pad")
    if not layer.has_constant_bias or (auto is not None and auto.as_string() != "NOTSET"):
        return None
    bias = np.zeros(layer.outputs) if layer.bias is None else layer.bias.astype(np.float64)
    strides, dilations = ints(node, "strides", (1, 1)), ints(node, "dilations", (1, 1))
    pads = ints(node, "pads", (0, 0, 0, 0))
    axes = tuple(
        _Axis(layer.weight.shape[2 + i], dilations[i], -pads[i], strides[i], pads[i + 2])
        for i in (0, 1)
    )
    return _Branch(node, source, layer.weight.astype(np.float64), bias, layer.groups, axes)


def _merged(terms: Sequence[ir.Value]) -> _Branch | None:
    """All terms as one branch."""
    branches = [branch for value in terms if (branch := _branch(value)) is not None]
    sources = {branch.source for branch in branches}
    if len(branches) < 2 or len(sources) != 1:
        return None
    (source,) = sources
    others = len(terms) - len(branches)
    if sum(value is source for value in terms) != others:
        return None
    channels = len(branches[0].bias)
    if others:
        one = np.full((channels, 1, 1, 1), float(others))
        itself = _Branch(None, source, one, np.zeros(channels), channels, (_POINT, _POINT))
        branches.append(itself)
    groups = min(branch.groups for branch in branches)
    pairs = [_joined([branch.axes[i] for branch in branches]) for i in (0, 1)]
    axes = tuple(axis for axis in pairs if axis is not None)
    if len(axes) < 2 or any(branch.groups % groups for branch in branches):
        return None
    shape = (channels, _inputs(branches[0]) // groups, *(axis.taps for axis in axes))
    before = sum(branch.weight.size for branch in branches if branch.node is not None)
    if math.prod(shape) > before:
        logger.debug("branches at %s stay apart: one kernel would be larger", name_of(terms[0]))
        return None
    weight = np.zeros(shape)
    for branch in branches:
        _add_kernel(weight, branch, groups, axes)
    largest = max(branches, key=lambda branch: branch.weight[0, 0].size)
    bias = np.sum([branch.bias for branch in branches], axis=0)
    return _Branch(largest.node, source, weight, bias, groups, axes)


def _inputs(branch: _Branch) -> int:
    return int(branch.weight.shape[1]) * branch.groups


def _joined(axes: Sequence[_Axis]) -> _Axis | None:
    """The axis that has the taps of all, for the same outputs."""
    dilations = {axis.dilation for axis in axes if axis.taps > 1} or {1}
    if len({axis.stride for axis in axes}) > 1 or len(dilations) > 1:
        return None
    (dilation,) = dilations
    first, last = min(axis.first for axis in axes), max(axis.last for axis in axes)
    if first > 0 or any((axis.first - first) % dilation for axis in axes):
        return None
    # Every branch makes the same number of outputs, so the padding of each tells the same end.
    after = min(axis.after + last - axis.last for axis in axes)
    return _Axis((last - first) // dilation + 1, dilation, first, axes[0].stride, after)


def _add_kernel(weight: _Floats, branch: _Branch, groups: int, axes: Sequence[_Axis]) -> None:
    """Add the weights of a branch where its groups and its taps stand in those of all."""
    outputs, inputs = branch.weight.shape[:2]
    rows = np.arange(outputs)
    begins = rows // (outputs // branch.groups) * inputs
    begins -= rows // (outputs // groups) * weight.shape[1]
    places = begins[:, None] + np.arange(inputs)
    taps = [
        (axis.first - whole.first) // whole.dilation + np.arange(axis.taps)
        for axis, whole in zip(branch.axes, axes, strict=True)
    ]
    weight[rows[:, None, None, None], places[:, :, None, None], taps[0][:, None], taps[1]] += (
        branch.weight
    )


def _write(
    graph: ir.Graph,
    nodes: Sequence[ir.Node],
    terms: Sequence[ir.Value],
    merged: _Branch,
    name: Namer,
) -> None:
    old, root = merged.node, nodes[0]
    assert old is not None  # the kernel of the tensor itself is never the largest alone
    stem = name_of(root.outputs[0])
    inputs = [
        merged.source,
        add_initializer(graph, name(f"{stem}_weight"), merged.weight.astype(np.float32)),
        add_initializer(graph, name(f"{stem}_bias"), merged.bias.astype(np.float32)),
    ]
    rows, columns = merged.axes
    attributes: dict[str, int | list[int]] = {
        "dilations": [rows.dilation, columns.dilation],
        "group": merged.groups,
        "kernel_shape": [rows.taps, columns.taps],
        "pads": [-rows.first, -columns.first, rows.after, columns.after],
        "strides": [rows.stride, columns.stride],
    }
    conv = ir.node("Conv", inputs, attributes, name=old.name)
    graph.insert_before(root, conv)
    replace(root.outputs[0], conv.outputs[0])
    done = [v.producer() for v in terms if v is not merged.source]
    graph.remove([*nodes, *(node for node in done if node is not None)], safe=True)
