"""Layers of few channels computed several columns at a time: integer kernels want more channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    int_attribute,
    ints,
    known_sizes,
    name_of,
    producer_of,
    sole_consumer,
)
from passes.lower.onnxruntime.integer_layout import IntegerLayout

_COLUMNS = (2, 4, 8)

_Written = dict[tuple[ir.Value, int, int, int], ir.Value]
"""What constants became on blocks of so many columns, with that stride and padding."""


@dataclass(frozen=True)
class ColumnBlocks(ir.passes.InPlacePass):
    """Compute Conv of few channels on blocks of columns. Exact: the same sums of integers.

    ONNX Runtime's fast integer convolution on x86 takes input and output channels in multiples of
    4, and at least 16 of the latter (``MlasConvSym``); other layers are gathered, multiplied and
    rescaled position by position, which takes two to four times as long. In memory a picture
    (H, W, C) with channels last is one of (H, W/f, f·C), so that a reshape that moves nothing turns
    f columns into channels. One position of the output then holds f/s columns (for a stride s),
    and its kernel is the old one at f/s places, zero elsewhere. There are more products, but they
    are cheap.

    1. Conv of one group between DequantizeLinear and QuantizeLinear with constant weights, where
       2, 4 or 8 columns make the channels of both sides such multiples. The first layer, of three
       channels, is the usual case.
    2. Declined: layers that have them already, dilated columns, a stride that does not divide f,
       widths that are no multiples of f and f/s, open sizes, an output that is read before it is
       quantized, columns at the right end that no output reads, and more input channels in a block
       than ``channels``: then the products cost more than they save.
    3. A weight that several layers read is written once for all that have the same blocks.

    Attributes:
        channels: The most input channels of a block.
    """

    channels: int = 128

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every layer that qualifies."""
        name = Namer(model.graph)
        written: _Written = {}
        for node in list(model.graph):
            blocks = self._blocks_of(node)
            if blocks is not None:
                _rewrite(model.graph, node, blocks, written, name)
        return ir.passes.PassResult(model, bool(written))

    def _blocks_of(self, node: ir.Node) -> _Blocks | None:
        """The smallest blocks that make a layer a fast one, or None."""
        if node.op_type != "Conv":
            return None
        sizes, out_sizes = known_sizes(node.inputs[0]), known_sizes(node.outputs[0])
        if not sizes or not out_sizes or _is_fast(sizes[0], out_sizes[0]):
            return None
        for columns in _COLUMNS:
            blocks = _blocks(node, columns)
            inputs = columns * sizes[0]
            if blocks is None or inputs > self.channels:
                continue
            if _is_fast(inputs, blocks.outputs * out_sizes[0]):
                return blocks
        return None


def _is_fast(inputs: int, outputs: int) -> bool:
    """Whether ONNX Runtime has the fast kernel for so many channels."""
    return inputs % 4 == outputs % 4 == 0 and outputs >= 16


@dataclass(frozen=True)
class _Blocks:
    """How the columns of a layer are grouped.

    Attributes:
        sizes: Channels, height and width of the input.
        out_sizes: Of the output.
        kernel: Rows and columns of the kernel.
        columns: Columns of the input in a block, f.
        stride: Columns from one output to the next, s.
        before: Padding before the first column.
    """

    sizes: tuple[int, ...]
    out_sizes: tuple[int, ...]
    kernel: tuple[int, int]
    columns: int
    stride: int
    before: int

    @property
    def outputs(self) -> int:
        """Columns of the output in a block."""
        return self.columns // self.stride

    @property
    def first(self) -> int:
        """The first block that a block of the output reads, counted from its own."""
        return -self.before // self.columns

    @property
    def count(self) -> int:
        """How many blocks a block of the output reads."""
        last = (self.outputs - 1) * self.stride + self.kernel[1] - 1 - self.before
        return last // self.columns - self.first + 1

    @property
    def behind(self) -> int:
        """Blocks of padding behind the last one; negative where the last ones are not read."""
        blocks, read = self.sizes[2] // self.columns, self.out_sizes[2] // self.outputs
        return read - 1 + self.count + self.first - blocks

    def parameter(self, old: NDArray[np.generic]) -> NDArray[np.generic]:
        """A weight (C_out, C, rows, kernel), or what there is one of per output channel, on blocks.

        Channels of blocks are (column, channel), as the reshape makes them.
        """
        if old.ndim < 4:
            return np.tile(old, self.outputs) if old.ndim else old
        outs, channels, rows, kernel = old.shape
        new = np.zeros((self.outputs, outs, self.columns, channels, rows, self.count), old.dtype)
        for output in range(self.outputs):
            for column in range(kernel):
                block, place = divmod(output * self.stride + column - self.before, self.columns)
                new[output, :, place, :, :, block - self.first] = old[..., column]
        return new.reshape(self.outputs * outs, self.columns * channels, rows, self.count)


def _blocks(node: ir.Node, columns: int) -> _Blocks | None:
    """The blocks of so many columns of a layer that can have them."""
    quantizer = sole_consumer(node.outputs[0]) if node.op_type == "Conv" else None
    if quantizer is None or quantizer.op_type != "QuantizeLinear":
        return None
    sources = _sources(node)
    parameters = [constant(value) for source in sources[1:] for value in source.inputs]
    if len(sources) < len(node.inputs) or any(array is None for array in parameters):
        return None
    weight = parameters[0]
    sizes, out_sizes = known_sizes(node.inputs[0]), known_sizes(node.outputs[0])
    if weight is None or weight.ndim != 4 or not sizes or not out_sizes:
        return None
    stride, dilation = (ints(node, key, (1, 1))[1] for key in ("strides", "dilations"))
    if int_attribute(node, "group", 1) > 1 or dilation > 1:
        return None
    if columns % stride or sizes[2] % columns or out_sizes[2] % (columns // stride):
        return None
    before = ints(node, "pads", (0, 0, 0, 0))[1]
    blocks = _Blocks(sizes, out_sizes, weight.shape[2:], columns, stride, before)
    return blocks if blocks.behind >= 0 else None


def _sources(node: ir.Node) -> list[ir.Node]:
    """What dequantizes the inputs of a layer."""
    sources = [producer_of(value) for value in node.inputs]
    return [source for source in sources if source and source.op_type == "DequantizeLinear"]


def _rewrite(
    graph: ir.Graph, node: ir.Node, blocks: _Blocks, written: _Written, name: Namer
) -> None:
    """Put the layer on blocks, and undo them behind its quantizer."""
    quantizer = sole_consumer(node.outputs[0])
    assert quantizer is not None  # the layer qualifies
    channels, height, width = blocks.sizes
    outs, out_height, out_width = blocks.out_sizes

    def dequantized(index: int, inputs: list[ir.Value | None]) -> None:
        value = node.inputs[index]
        source = producer_of(value)
        assert value is not None
        assert source is not None
        new = ir.node("DequantizeLinear", inputs, source.attributes, name=name(source.name or ""))
        new.outputs[0].name, new.outputs[0].type = name(value.name or ""), value.type
        graph.insert_before(node, new)
        node.replace_input_with(index, new.outputs[0])

    integers, *grid = _sources(node)[0].inputs
    assert integers is not None
    gather = IntegerLayout(graph, integers, f"{node.name}_in", name)
    gather.reshape(-1, height, width // blocks.columns, blocks.columns * channels)
    gathered = gather.end()
    graph.insert_before(node, gather.nodes)
    dequantized(0, [gathered, *grid])
    for index, source in enumerate(_sources(node)[1:], start=1):
        stem = f"{name_of(source.inputs[0])}_blocks"
        parameters: list[ir.Value | None] = []
        for value in source.inputs:
            array = constant(value)
            if value is None or array is None:
                continue
            key = value, blocks.columns, blocks.stride, blocks.before
            if key not in written:
                written[key] = add_initializer(graph, name(stem), blocks.parameter(array))
            parameters.append(written[key])
        dequantized(index, parameters)

    top, _, bottom, _ = ints(node, "pads", (0, 0, 0, 0))
    changed = {
        "kernel_shape": (blocks.kernel[0], blocks.count),
        "pads": (top, -blocks.first, bottom, blocks.behind),
        "strides": (ints(node, "strides", (1, 1))[0], 1),
    }
    node.attributes.update({key: ir.AttrInt64s(key, value) for key, value in changed.items()})

    stored = quantizer.outputs[0]
    readers = list(stored.uses())
    scatter = IntegerLayout(graph, stored, f"{node.name}_out", name)
    scatter.reshape(-1, out_height, out_width, outs)
    scattered = scatter.end()
    scattered.shape = stored.shape
    for use in readers:
        use.node.replace_input_with(use.idx, scattered)
    graph.insert_after(quantizer, scatter.nodes)
    batch = stored.shape[0] if stored.shape is not None else None
    grouped = (batch, blocks.outputs * outs, out_height, out_width // blocks.outputs)
    node.outputs[0].shape = stored.shape = ir.Shape(grouped)
