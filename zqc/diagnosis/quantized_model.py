"""Any quantized model, as QuantizeLinear, DequantizeLinear and float layers between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import is_weighted, nested_inputs
from passes.graph import Namer, constant, name_of, producer_of
from passes.operators import LAYOUT, PAIR, POINTWISE
from zqc.runtime import session

Feeds = Mapping[str, NDArray[np.generic]]

_ON_THE_WAY = PAIR | LAYOUT | {"Clip", "Relu", "Cast", "Min", "Max"}
"""What may stand between a layer and a product with a constant for each of its channels."""


@dataclass(frozen=True)
class Rounding:
    """A tensor goes through QuantizeLinear, and comes back through DequantizeLinear.

    Attributes:
        name: Name of the QuantizeLinear.
        source: Name of the float tensor.
        step: Scale of the QuantizeLinear: one number, or one for each channel.
        zero: Its zero point likewise.
        step_back: Scale of the DequantizeLinear, the same unless something is wrong.
        zero_back: Its zero point.
        low: Smallest integer.
        high: Largest integer.
        path: Types of the operators between the layer and the tensor, none of them a pair.
    """

    name: str
    source: str
    step: NDArray[np.float64]
    zero: NDArray[np.float64]
    step_back: NDArray[np.float64]
    zero_back: NDArray[np.float64]
    low: int
    high: int
    path: tuple[str, ...] = ()

    @property
    def bits(self) -> int:
        """Bits of the integers."""
        return int(self.high - self.low).bit_length()

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        step, zero = self.step_back, self.zero_back
        ends = np.array([(self.low - zero) * step, (self.high - zero) * step])
        return float(ends.min()), float(ends.max())

    @property
    def exponent(self) -> float:
        """log₂ of the threshold, the larger of the two ends, as one step beyond the grid."""
        low, high = self.bounds
        return float(np.log2(max(-low, high + float(self.step_back.max()))))

    def nearest(self, values: NDArray[np.floating], axis: int = 1) -> NDArray[np.float64]:
        """What becomes of values; with a step for each channel, these are on ``axis``."""
        shape = [-1 if index == axis else 1 for index in range(values.ndim)]
        step, zero, back, zero_back = (
            each if each.size == 1 else each.reshape(shape)
            for each in (self.step, self.zero, self.step_back, self.zero_back)
        )
        codes = np.clip(np.rint(values / step) + zero, self.low, self.high)
        return np.asarray((codes - zero_back) * back, np.float64)


@dataclass(frozen=True)
class QuantizedLayer:
    """A layer of a quantized model.

    Attributes:
        node: The node.
        weight: What it multiplies by.
        bias: What it adds; None without a bias.
        bits: Bits of the weights, 32 for float.
        factors: What each output channel is multiplied by behind it, (C,), where that is known.
        outputs: The roundings of its output, up to its activation function.
        source: The rounding of its input; None where that is float.
    """

    node: ir.Node
    weight: NDArray[np.float64]
    bias: NDArray[np.float64] | None
    bits: int
    factors: NDArray[np.float64] | None
    outputs: tuple[Rounding, ...] = ()
    source: Rounding | None = None


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized model, read.

    Attributes:
        model: It, with float layers between pairs.
        layers: Its layers, in graph order.
        roundings: Every rounding of what depends on the picture, by the name of its node.
    """

    model: ir.Model
    layers: tuple[QuantizedLayer, ...]
    roundings: Mapping[str, Rounding] = field(default_factory=dict)


def read(model: ir.Model, feeds: Feeds) -> QuantizedModel:
    """Read a quantized model, whoever wrote it.

    Scales, weights and biases may be computed from other constants: they are computed here.

    Args:
        model: The model; it is not changed.
        feeds: One input.

    Raises:
        RuntimeFailure: ONNX Runtime cannot run it.
    """
    model = model.clone()
    _name_everything(model.graph)
    plain_layers(model.graph)
    graph = model.graph
    moving = _moving(graph)
    layers = [n for n in graph if is_weighted(n) and _is_layer(n, moving)]
    pairs = [n for n in graph if n.op_type == "QuantizeLinear" and n.inputs[0] in moving]
    backs = {pair: _back(pair) for pair in pairs}
    wanted: list[ir.Value | None] = []
    products = {node: _product_behind(node, moving) for node in layers}
    for node, product in products.items():
        wanted += node.inputs[1:3]
        wanted += product.inputs[1:2] if product is not None else []
    for pair, back in backs.items():
        wanted += pair.inputs[1:3]
        wanted += back.inputs[1:3] if back is not None else []
    values = _values(model, [value for value in wanted if value is not None], feeds)

    def array(value: ir.Value | None) -> NDArray[np.float64]:
        return np.zeros(1) if value is None else values[name_of(value)].astype(np.float64)

    owners: dict[ir.Node, tuple[ir.Node, tuple[str, ...]]] = {}
    for node in layers:
        for pair, path in _own_pairs(node):
            owners.setdefault(pair, (node, path))
    roundings = {}
    for pair, back in backs.items():
        step, zero = array(pair.inputs[1]), array(_third(pair))
        low, high = _integers(pair)
        roundings[pair] = Rounding(
            name=pair.name or "",
            source=name_of(pair.inputs[0]),
            step=step.reshape(-1),
            zero=zero.reshape(-1),
            step_back=(step if back is None else array(back.inputs[1])).reshape(-1),
            zero_back=(zero if back is None else array(_third(back))).reshape(-1),
            low=low,
            high=high,
            path=owners[pair][1] if pair in owners else (),
        )
    found = []
    for node in layers:
        weight = array(node.inputs[1])
        bias = array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        source, product = _quantizer_before(node.inputs[0]), products[node]
        found.append(
            QuantizedLayer(
                node,
                weight,
                bias,
                _weight_bits(node),
                None if product is None else _factors(product, array(product.inputs[1])),
                tuple(roundings[p] for p, (owner, _) in owners.items() if owner is node),
                roundings.get(source) if source is not None else None,
            )
        )
    return QuantizedModel(model, tuple(found), {r.name: r for r in roundings.values()})


def plain_layers(graph: ir.Graph) -> None:
    """Write QLinearConv and QLinearMatMul as layers between pairs: the same integers."""
    name = Namer(graph)
    for node in list(graph):
        if node.domain != "" or node.op_type not in ("QLinearConv", "QLinearMatMul"):
            continue
        x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *rest = node.inputs
        stem = node.name or "layer"

        def dequantized(
            value: ir.Value | None,
            scale: ir.Value | None,
            zero: ir.Value | None,
            what: str,
            node: ir.Node = node,
            stem: str = stem,
            axis: int | None = None,
        ) -> ir.Value:
            attributes = {} if axis is None else {"axis": axis}
            made = ir.node(
                "DequantizeLinear",
                [value, scale, zero],
                attributes=attributes,
                name=name(f"{stem}_{what}"),
            )
            made.outputs[0].name = made.name
            made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            graph.insert_before(node, made)
            return made.outputs[0]

        conv = node.op_type == "QLinearConv"
        inputs = [
            dequantized(x, x_scale, x_zero, "x"),
            dequantized(w, w_scale, w_zero, "w", axis=0 if conv else 1),
        ]
        if rest and rest[0] is not None:
            product = ir.node("Mul", [x_scale, w_scale], name=name(f"{stem}_step"))
            product.outputs[0].name = product.name
            graph.insert_before(node, product)
            inputs.append(dequantized(rest[0], product.outputs[0], None, "b", axis=0))
        layer = ir.node(
            "Conv" if conv else "MatMul",
            inputs,
            attributes=dict(node.attributes),
            name=node.name,
        )
        layer.outputs[0].name = name(f"{stem}_y")
        layer.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        back = ir.node(
            "QuantizeLinear", [layer.outputs[0], y_scale, y_zero], name=name(f"{stem}_q")
        )
        back.outputs[0].name = name(f"{stem}_codes")
        back.outputs[0].type = node.outputs[0].type
        graph.insert_before(node, [layer, back])
        ir.convenience.replace_all_uses_with(
            node.outputs[0], back.outputs[0], replace_graph_outputs=True
        )
        graph.remove(node, safe=True)


def _name_everything(graph: ir.Graph) -> None:
    name = Namer(graph)
    for node in graph:
        node.name = node.name or name(node.op_type.lower())
        for value in node.outputs:
            value.name = value.name or name(f"{node.name}_out")


def _moving(graph: ir.Graph) -> set[ir.Value]:
    """What depends on the inputs of the graph."""
    found = {value for value in graph.inputs if value.const_value is None}
    for node in graph:
        if any(value in found for value in nested_inputs(node)):
            found.update(node.outputs)
    return found


def _is_layer(node: ir.Node, moving: set[ir.Value]) -> bool:
    return node.inputs[0] in moving and node.inputs[1] not in moving


def _values(
    model: ir.Model, wanted: Iterable[ir.Value], feeds: Feeds
) -> dict[str, NDArray[np.generic]]:
    """Arrays of constants by name; those that are no initializers are computed."""
    found, computed = {}, {}
    for value in wanted:
        array = constant(value)
        if array is not None:
            found[name_of(value)] = array
        else:
            computed[name_of(value)] = value
    if computed:
        runner = session.load(
            exposing(model, list(computed)), outputs=list(computed), optimize=False
        )
        found |= runner(feeds)
    return found


def exposing(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """Return a copy of a model that has further outputs."""
    copy = model.clone()
    present = {name_of(value) for value in copy.graph.outputs}
    values = {name_of(v): v for node in copy.graph for v in node.outputs}
    copy.graph.outputs.extend(values[n] for n in dict.fromkeys(names) if n not in present)
    return copy


def _back(pair: ir.Node) -> ir.Node | None:
    """The DequantizeLinear behind a QuantizeLinear, perhaps behind a Clip of integers."""
    value = pair.outputs[0]
    for _ in range(2):
        nodes = [use.node for use in value.uses()]
        backs = [node for node in nodes if node.op_type == "DequantizeLinear"]
        if backs:
            return backs[0]
        clips = [node for node in nodes if node.op_type == "Clip"]
        if not clips:
            return None
        value = clips[0].outputs[0]
    return None


def _integers(pair: ir.Node) -> tuple[int, int]:
    """Smallest and largest integer of a tensor, as its type or a Clip behind it has them."""
    zero = _third(pair)
    kind = zero.dtype if zero is not None else pair.outputs[0].dtype
    if kind is None or kind not in _RANGES:
        kind = ir.DataType.UINT8
    low, high = _RANGES[kind]
    clip = next((u.node for u in pair.outputs[0].uses() if u.node.op_type == "Clip"), None)
    if clip is not None:
        ends = [constant(value) for value in (*clip.inputs[1:3], None, None)]
        low = low if ends[0] is None else max(low, int(ends[0]))
        high = high if ends[1] is None else min(high, int(ends[1]))
    return low, high


_RANGES = {
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
}


def _own_pairs(layer: ir.Node) -> list[tuple[ir.Node, tuple[str, ...]]]:
    """The quantizers of a layer's output, with the operators before each."""
    paths: dict[ir.Value, tuple[str, ...]] = {layer.outputs[0]: ()}
    waiting, found = [layer.outputs[0]], []
    while waiting:
        value = waiting.pop(0)
        for node in (use.node for use in value.uses()):
            if node.op_type == "QuantizeLinear":
                found.append((node, paths[value]))
            inputs = [v for v in node.inputs if v is not None and constant(v) is None]
            data = inputs[:1] if node.op_type in PAIR else inputs
            computed = POINTWISE | PAIR | {"Add", "Div", "Mul", "Min", "Max"}
            if node.op_type in computed and all(v in paths or _is_constant(v) for v in data):
                longest = max((paths[v] for v in data if v in paths), key=len)
                here = longest if node.op_type in PAIR else (*longest, node.op_type)
                if node.outputs[0] not in paths:
                    paths[node.outputs[0]] = here
                    waiting.append(node.outputs[0])
    return found


def _is_constant(value: ir.Value) -> bool:
    producer = producer_of(value)
    if producer is None:
        return constant(value) is not None
    return all(v is None or _is_constant(v) for v in producer.inputs)


def _quantizer_before(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear that a layer's input comes from, through what only moves values."""
    node = producer_of(value)
    while node is not None and node.op_type != "QuantizeLinear":
        if node.op_type not in _ON_THE_WAY | {"MaxPool", "Resize"}:
            return None
        node = producer_of(node.inputs[0])
    return node


def _weight_bits(node: ir.Node) -> int:
    """Bits that a layer's weights are stored in before they become floats."""
    value = node.inputs[1]
    for _ in range(8):
        producer = producer_of(value)
        if producer is None:
            break
        if producer.op_type == "DequantizeLinear":
            value = producer.inputs[0]
            least = 8
            while value is not None:
                kind = value.dtype
                if kind in (ir.DataType.INT4, ir.DataType.UINT4):
                    return 4
                if kind in (ir.DataType.INT16, ir.DataType.UINT16):
                    return 16
                before = producer_of(value)
                value = before.inputs[0] if before is not None and before.inputs else None
            return least
        value = producer.inputs[0] if producer.inputs else None
    return 32


def _product_behind(layer: ir.Node, moving: set[ir.Value]) -> ir.Node | None:
    """The Mul or Div by what does not depend on the picture, behind a layer."""
    value = layer.outputs[0]
    for _ in range(6):
        nodes = [use.node for use in value.uses()]
        if len(nodes) != 1:
            return None
        (node,) = nodes
        if node.op_type in ("Mul", "Div") and node.inputs[0] is value:
            return node if node.inputs[1] not in moving else None
        if node.op_type not in _ON_THE_WAY - LAYOUT:
            return None
        value = node.outputs[0]
    return None


def _factors(product: ir.Node, array: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Factors of the output channels, if there is one for each."""
    if len([size for size in array.shape if size > 1]) != 1:
        return None
    vector = array.reshape(-1)
    return vector if product.op_type == "Mul" else 1 / vector


def _third(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None
