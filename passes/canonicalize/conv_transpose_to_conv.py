"""A ConvTranspose becomes a Conv, which runtimes have integer kernels for."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import Namer, add_initializer, int_attribute, ints, name_of, replace
from passes.layers import layer_of

logger = logging.getLogger(__name__)

_Attribute: TypeAlias = int | str | Sequence[int]
_MOST_CONVS = 16
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class ConvTransposeToConv(ir.passes.InPlacePass):
    """Write a ConvTranspose as Conv → DepthToSpace. Exact: the same products, summed.

    y[s·q + f] = Σ_t w[s·t + r]·x[q + a − t], where f + p = s·a + r: each of the s phases f of the
    output is a convolution of its own, with every s-th tap of the kernel. They become output
    channels, which DepthToSpace puts in their places. A phase that needs fewer taps than the
    others has zeros.

    1. Stride 1: a Conv with the kernel flipped.
    2. Kernel and stride s: a 1×1 Conv with s² times the outputs; nothing is wasted.
    3. A kernel larger than its stride: a Conv of about k/s taps. Where all phases read the same
       inputs only if the output begins up to s − 1 positions earlier, or where its size is no
       multiple of s, a Slice cuts off the rest. That is cheaper than zeros: 4×4, stride 2, padded
       by 1 is a 2×2 Conv then, and no 3×3 one.
    4. Groups: a Conv of the same groups for each phase, and a Concat. One for all phases would be
       slower than the ConvTranspose, twice so where it is depthwise.
    5. Dilations: those of the Conv at stride 1. At a larger stride the kernel is spread out, with
       zeros between its taps.
    6. Declined: other ranks than 4, strides that differ, ``auto_pad`` and ``output_shape`` (see
       ``ExplicitPads``), computed weights, paddings beyond the kernel, more than 16 phases of
       groups, and kernels of which two thirds would be zeros: a product costs about a third on
       integers.

    The Conv takes over the name of the ConvTranspose; further ones have it with a number.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every ConvTranspose that qualifies."""
        graph = model.graph
        name = Namer(graph)
        modified = False
        for node in list(graph):
            if node.op_type == "ConvTranspose" and node.domain == "":
                reason = _rewrite(graph, node, name)
                modified = modified or not reason
                if reason:
                    logger.debug("%s stays a ConvTranspose: %s", node.name, reason)
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Axis:
    """How the phases of one axis read the input.

    Attributes:
        taps: For each phase, the tap of the old kernel at each tap of the new one, −1 for none.
        pads: Of the Conv, before and after.
        cut: How many positions a Slice takes away, at the beginning and at the end.
        dilation: Of the Conv.
    """

    taps: tuple[tuple[int, ...], ...]
    pads: tuple[int, int]
    cut: tuple[int, int]
    dilation: int = 1


def why_not(node: ir.Node) -> str:
    """Say which attribute of a ConvTranspose keeps it one; empty where none does."""
    weight = node.inputs[1]
    shape = [] if weight is None or weight.shape is None else list(weight.shape)
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != len(shape) or not shape:
        return "its weight is computed"
    _, reason = _axes(node, sizes)
    return reason


def _axis(kernel: int, stride: int, pads: tuple[int, int], output_padding: int, cut: int) -> _Axis:
    """Solve f + p = s·a + r for every phase of an output that begins ``cut`` positions earlier."""
    before = pads[0] - cut
    shifts = [divmod(phase + before, stride) for phase in range(stride)]
    counts = [math.ceil((kernel - remainder) / stride) for _, remainder in shifts]
    # Phase f reads the inputs from q + a − count + 1 to q + a.
    first = min(shift - count + 1 for (shift, _), count in zip(shifts, counts, strict=True))
    last = max(shift for shift, _ in shifts)
    taps = tuple(
        tuple(
            stride * (shift - offset) + remainder if 0 <= shift - offset < count else -1
            for offset in range(first, last + 1)
        )
        for (shift, remainder), count in zip(shifts, counts, strict=True)
    )
    # n inputs make s·(n − 1) + grown outputs, and the Conv has a position for every s of them.
    grown = kernel + output_padding - before - pads[1]
    positions = math.ceil(grown / stride)
    return _Axis(taps, (-first, positions - 1 + last), (cut, positions * stride - grown))


def _cheaper_axis(
    kernel: int, stride: int, dilation: int, pads: tuple[int, int], output_padding: int
) -> _Axis:
    """Of both ways to begin the one with fewer taps, without a Slice where they are as many."""
    covered = (kernel - 1) * dilation + 1
    if stride == 1:
        (taps,) = _axis(kernel, 1, (0, 0), 0, 0).taps
        whole = _axis(covered, 1, pads, output_padding, 0)
        return _Axis((taps,), whole.pads, whole.cut, dilation)
    ways = (_axis(covered, stride, pads, output_padding, cut) for cut in (0, pads[0] % stride))
    axis = min(ways, key=lambda axis: len(axis.taps[0]))
    taps_of = tuple(
        tuple(-1 if tap < 0 or tap % dilation else tap // dilation for tap in phase)
        for phase in axis.taps
    )
    return _Axis(taps_of, axis.pads, axis.cut)


def _axes(node: ir.Node, shape: Sequence[int]) -> tuple[list[_Axis], str]:
    """How each axis is rewritten, and why not; the reason names an attribute."""
    if len(shape) != 4:
        return [], "its weight has not 4 dimensions"
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.as_string().startswith("SAME"):
        return [], "its auto_pad depends on sizes that are not known"
    if "output_shape" in node.attributes:
        return [], "its output_shape depends on sizes that are not known"
    stride, other = ints(node, "strides", (1, 1))
    if stride != other:
        return [], "its strides differ"
    dilations, more = ints(node, "dilations", (1, 1)), ints(node, "output_padding", (0, 0))
    pads = ints(node, "pads", (0, 0, 0, 0))
    axes = [
        _cheaper_axis(shape[2 + i], stride, dilations[i], (pads[i], pads[i + 2]), more[i])
        for i in (0, 1)
    ]
    if any(pad < 0 for axis in axes for pad in axis.pads):
        return [], "its pads reach beyond its kernel"
    if math.prod(float(np.mean(np.array(axis.taps) >= 0)) for axis in axes) < 1 / 3:
        cause = "dilations" if max(dilations) > 1 else "strides"
        return [], f"its {cause} would make two thirds of a Conv's kernel zeros"
    if int_attribute(node, "group", 1) > 1 and stride**2 > _MOST_CONVS:
        return [], "its strides have too many phases for its group"
    return axes, ""


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> str:
    """Replace the node, or say why not."""
    layer = layer_of(node)
    if layer is None:
        return "its weight is computed"
    if not layer.has_constant_bias:
        return "its bias is computed"
    axes, reason = _axes(node, layer.weight.shape)
    if not reason:
        _write(graph, node, _phases(layer.weight, axes, layer.groups), layer.bias, axes, name)
    return reason


def _phases(weight: NDArray[np.floating], axes: list[_Axis], groups: int) -> NDArray[np.floating]:
    """The weight (C_in, C_out/g, kh, kw) by phase: (s², C_out, C_in/g, jh, jw)."""
    # A tap of −1 picks the zeros that are put behind the kernel.
    padded = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1)))
    rows, columns = (np.array(axis.taps) for axis in axes)
    picked = padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    split = picked.reshape(groups, -1, *picked.shape[1:])
    moved = split.transpose(3, 4, 0, 2, 1, 5, 6)  # phases, group, output, input, taps
    phases, inputs, taps = len(rows) * len(columns), split.shape[1], split.shape[-2:]
    return moved.reshape(phases, -1, inputs, *taps)


def _write(
    graph: ir.Graph,
    node: ir.Node,
    kernels: NDArray[np.floating],
    bias: NDArray[np.floating] | None,
    axes: list[_Axis],
    name: Namer,
) -> None:
    """Put Conv, Concat, DepthToSpace and Slice, as far as they are needed, in the node's place."""
    groups, phases, output = int_attribute(node, "group", 1), len(kernels), node.outputs[0]
    if groups == 1:
        kernels = kernels.reshape(1, -1, *kernels.shape[2:])
        bias = None if bias is None else np.tile(bias, phases)
    pads = [axis.pads[end] for end in (0, 1) for axis in axes]
    more: dict[str, _Attribute] = {}
    if any(axis.dilation > 1 for axis in axes):
        more["dilations"] = [axis.dilation for axis in axes]
    nodes: list[ir.Node] = []

    def add(kind: str, inputs: Sequence[ir.Value | None], **attributes: _Attribute) -> ir.Value:
        label = node.name if not nodes else name(node.name or kind)
        nodes.append(ir.node(kind, inputs, attributes, name=label))
        nodes[-1].outputs[0].name = name(f"{output.name}_phases")
        nodes[-1].outputs[0].type = output.type
        return nodes[-1].outputs[0]

    def constant_of(index: int, array: NDArray[np.floating]) -> ir.Value:
        return add_initializer(graph, name(name_of(node.inputs[index])), array)

    results = []
    for kernel in kernels:
        inputs = [node.inputs[0], constant_of(1, kernel)]
        inputs += [] if bias is None else [constant_of(2, bias)]
        shape = kernel.shape[2:]
        results.append(add("Conv", inputs, group=groups, kernel_shape=shape, pads=pads, **more))
    result = results[0] if len(results) == 1 else add("Concat", results, axis=1)
    if phases > 1:
        result = add("DepthToSpace", [result], blocksize=math.isqrt(phases), mode="DCR")
    if any(any(axis.cut) for axis in axes):
        starts = [axis.cut[0] for axis in axes]
        ends = [-axis.cut[1] if axis.cut[1] else _FAR for axis in axes]
        bounds = [
            add_initializer(graph, name(f"{node.name}_{part}"), np.array(numbers, np.int64))
            for part, numbers in (("starts", starts), ("ends", ends), ("axes", [2, 3]))
        ]
        result = add("Slice", [result, *bounds])
    graph.insert_before(node, nodes)
    replace(output, result)
    graph.remove(node, safe=True)
