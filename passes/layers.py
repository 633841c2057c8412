"""What a layer is made of: weight, bias, groups and axes; read and replaced here alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import (
    Namer,
    add_initializer,
    constant,
    float_attribute,
    int_attribute,
    ints,
    name_of,
)
from passes.operators import WEIGHTED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul with a constant weight.

    Attributes:
        node: The node; MatMul has its weight on the right.
        weight: As it is stored: (C_out, C_in/g, …) of a Conv, (C_in, C_out/g, …) of a
            ConvTranspose, a matrix of a Gemm, (…, C_in, C_out) of a MatMul.
        weight_value: The initializer that holds it.
        bias_value: Where the bias comes from; None without one.
    """

    node: ir.Node
    weight: NDArray[np.floating]
    weight_value: ir.Value
    bias_value: ir.Value | None

    @property
    def groups(self) -> int:
        """Number of groups, 1 for a matrix."""
        return int_attribute(self.node, "group", 1)

    @property
    def output_axis(self) -> int:
        """Axis of the weight along which the output channels (of a group) run."""
        return output_axis(self.node, self.weight.ndim)

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        channels = int(self.weight.shape[self.output_axis])
        return channels * self.groups if self.node.op_type == "ConvTranspose" else channels

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        if self.node.op_type == "Conv":
            return int(self.weight.shape[1]) * self.groups
        if self.node.op_type == "ConvTranspose":
            return int(self.weight.shape[0])
        return int(self.weight.shape[self.weight.ndim - 2 + self._is_transposed])

    @property
    def is_plain(self) -> bool:
        """Whether product and bias count as they are: no α or β other than 1."""
        return (
            float_attribute(self.node, "alpha", 1.0) == float_attribute(self.node, "beta", 1.0) == 1
        )

    @property
    def bias(self) -> NDArray[np.floating] | None:
        """The bias as it is stored; None where there is none or it is computed."""
        return constant(self.bias_value)

    @property
    def has_constant_bias(self) -> bool:
        """Whether the bias, if there is one, is a constant."""
        return self.bias_value is None or self.bias is not None

    def bias_vector(self) -> Floats | None:
        """Bias per output channel, shape (C_out,), zeros if there is none.

        None where it cannot be quantized: of a MatMul, a Gemm with α or β other than 1, a computed
        bias and one that is not a number per channel.
        """
        if self.node.op_type == "MatMul" or not self.is_plain:
            return None
        if self.bias_value is None:
            return np.zeros(self.outputs)
        bias = self.bias
        if bias is None or bias.size != self.outputs:
            return None
        return np.asarray(bias.reshape(-1), np.float64)

    def along_outputs(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Reshape a number per output channel, (C_out,), to broadcast over the weight."""
        if self.node.op_type == "ConvTranspose":
            # Output channel g·(C_out/g)+j stands in the rows of group g.
            rows = values.reshape(self.groups, -1).repeat(self.inputs // self.groups, axis=0)
            return rows.reshape(rows.shape + (1,) * (self.weight.ndim - 2))
        return along(self.output_axis, values, self.weight.ndim)

    def along_inputs(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Reshape a number per input channel, (C_in,), to broadcast over the weight."""
        if self.node.op_type == "Conv":
            rows = values.reshape(self.groups, -1).repeat(self.outputs // self.groups, axis=0)
            return rows.reshape(rows.shape + (1,) * (self.weight.ndim - 2))
        axis = 0 if self.node.op_type == "ConvTranspose" else 1 - self.output_axis
        return along(axis, values, self.weight.ndim)

    def mean_shift(self, error: NDArray[np.floating], mean: Floats) -> Floats:
        """Mean of what an error of the weights adds to the output, shape (C_out,).

        Args:
            error: In the shape of the weight.
            mean: Mean of the input per channel, shape (C_in,).
        """
        if self.node.op_type == "Gemm":
            columns = error.T if self._is_transposed else error
            return np.asarray(mean @ columns, np.float64)
        summed = error.reshape(*error.shape[:2], -1).sum(axis=2, dtype=np.float64)
        rows = summed.reshape(self.groups, -1, error.shape[1])
        inputs = mean.reshape(self.groups, -1)
        if self.node.op_type == "ConvTranspose":
            # A kernel of stride s covers an output pixel 1/s² of the time.
            strides = ints(self.node, "strides", (1,) * (error.ndim - 2))
            shift = np.einsum("gi,gio->go", inputs, rows) / np.prod(strides)
        else:
            shift = np.einsum("gi,goi->go", inputs, rows)
        return np.asarray(shift.reshape(-1), np.float64)

    def set_weight(self, weight: NDArray[np.floating], name: Namer) -> None:
        """Give the node a weight of its own, named after the old one, which others may read."""
        self._set(1, weight, name(self._stem))

    def take_weight(self, other: Layer) -> None:
        """Read the weight that another layer of the same kind has now."""
        self.node.replace_input_with(1, other.node.inputs[1])

    def set_bias(self, bias: NDArray[np.floating], name: Namer) -> None:
        """Give the node a bias of its own, likewise; it need not have had one."""
        self._set(2, bias, name(name_of(self.bias_value) or f"{self._stem}_bias"))

    @property
    def _is_transposed(self) -> bool:
        return bool(int_attribute(self.node, "transB", 0))

    @property
    def _stem(self) -> str:
        return self.weight_value.name or f"{self.node.name}_weight"

    def _set(self, index: int, array: NDArray[np.floating], name: str) -> None:
        graph = self.node.graph
        assert graph is not None  # a layer stands in a graph
        self.node.resize_inputs(max(index + 1, len(self.node.inputs)))
        value = add_initializer(graph, name, array.astype(np.float32))
        self.node.replace_input_with(index, value)


def layer_of(node: ir.Node | None) -> Layer | None:
    """Read a layer; None for another operator and for one whose weight is computed."""
    if node is None or node.op_type not in WEIGHTED or node.domain != "" or len(node.inputs) < 2:
        return None
    value, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    weight = constant(value)
    return None if weight is None or value is None else Layer(node, weight, value, bias)


def by_weight(nodes: Iterable[ir.Node]) -> list[tuple[Layer, ...]]:
    """Group layers by the weight that they read, as the levels of a pyramid share a head's.

    Whatever changes a weight changes it for all of its readers, or there is one copy a reader.

    Returns:
        In the order of the first of each group. Nodes that are no layers are left out; layers that
        read one weight along different axes are no group.
    """
    groups: dict[tuple[ir.Value, str, int, int], list[Layer]] = {}
    for node in nodes:
        layer = layer_of(node)
        if layer is not None:
            key = layer.weight_value, node.op_type, layer.output_axis, layer.groups
            groups.setdefault(key, []).append(layer)
    return [tuple(group) for group in groups.values()]


def scalable_layer(node: ir.Node) -> Layer | None:
    """Read a layer whose channels, on axis 1 before and after it, can each be scaled.

    None for MatMul, for a Gemm with transA, and where weight or bias are computed or the bias is no
    number per output channel.
    """
    layer = layer_of(node)
    if layer is None or node.op_type == "MatMul" or int_attribute(node, "transA", 0):
        return None
    bias = layer.bias
    fits = bias is None or (
        bias.size in (1, layer.outputs) and (not bias.ndim or bias.shape[-1] == bias.size)
    )
    return layer if layer.has_constant_bias and fits else None


def scalable_bias(layer: Layer) -> NDArray[np.floating] | None:
    """The bias of a scalable layer, shape (C_out,), or None: β = 0 makes it none."""
    if layer.bias is None or float_attribute(layer.node, "beta", 1.0) == 0.0:
        return None
    return np.broadcast_to(layer.bias.reshape(-1), (layer.outputs,))


def rescale(
    layers: Sequence[Layer], source: Floats | None, target: Floats | None, name: Namer
) -> None:
    """Write W·s_out/s_in and b·s_out into scalable layers that share their weight.

    Args:
        layers: The layers, or the one.
        source: Factors of its input channels, None for 1.
        target: Factors of its output channels, None for 1.
        name: Names the new constants.
    """
    if source is None and target is None:
        return
    first = layers[0]
    before = np.ones(first.inputs) if source is None else source
    after = np.ones(first.outputs) if target is None else target
    first.set_weight(first.weight * (first.along_outputs(after) / first.along_inputs(before)), name)
    for layer in layers:
        layer.take_weight(first)
        bias = scalable_bias(layer)
        if target is not None and bias is not None:
            layer.set_bias(bias * target, name)


def output_axis(node: ir.Node, rank: int) -> int:
    """Axis of a layer's weight, of so many dimensions, along which its output channels run."""
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if int_attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else rank - 1


def along(axis: int, values: NDArray[np.floating], rank: int) -> NDArray[np.floating]:
    """Reshape a number per channel to broadcast along one axis of an array of that rank."""
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])
