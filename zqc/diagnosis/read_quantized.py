"""Reading a quantized model, whoever wrote it: its layers, and where values are rounded."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.log_affine import code_bits
from passes.analysis.topology import is_weighted, nested_inputs, post_processing
from passes.arithmetic import FLOAT_BITS
from passes.graph import Namer, constant, int_attribute, name_of, producer_of, scalar
from passes.layers import output_axis
from passes.operators import LAYOUT, PAIR, POINTWISE
from zqc.diagnosis.inner_tensors import exposing
from zqc.diagnosis.plain_layers import plain_layers
from zqc.diagnosis.quantized_model import QuantizedLayer, QuantizedModel, Rounding
from zqc.runtime import session

Feeds = Mapping[str, NDArray[np.generic]]

_ON_THE_WAY = PAIR | LAYOUT | {"Clip", "Relu", "Cast", "Min", "Max"}
"""What may stand between a layer and a product with a constant for each of its channels."""


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
    stored = {node: _stored(node) for node in layers}
    for node, product in products.items():
        wanted += node.inputs[1:3]
        kept = stored[node]
        wanted += kept.inputs if kept is not None else []
        wanted += product.inputs[1:2] if product is not None else []
    for pair, back in backs.items():
        wanted += pair.inputs[1:3]
        wanted += back.inputs[1:3] if back is not None else []
    values = _values(model, [value for value in wanted if value is not None], feeds)

    def array(value: ir.Value | None) -> NDArray[np.float64]:
        return np.zeros(1) if value is None else values[name_of(value)].astype(np.float64)

    def stored_bits(node: ir.Node | None) -> int:
        if node is None:
            return FLOAT_BITS
        codes = values[name_of(node.inputs[0])]
        return _bits(codes, array(_third(node)), int_attribute(node, "axis", 1))

    owners: dict[ir.Node, tuple[ir.Node, tuple[str, ...]]] = {}
    for node in layers:
        product = products[node]
        apart = product is not None and _factors(product, array(product.inputs[1])) is not None
        for pair, path in _own_pairs(node, moving, product if apart else None):
            owners.setdefault(pair, (node, path))
    roundings = {}
    shifts = {pair: _shift(pair, array(pair.inputs[1]), array(_third(pair))) for pair in pairs}
    for pair, back in backs.items():
        step, zero = array(pair.inputs[1]), array(_third(pair))
        low, high = _integers(pair)
        tensor, path = name_of(pair.inputs[0]), owners[pair][1] if pair in owners else ()
        before = producer_of(pair.inputs[0])
        if shifts[pair] and before is not None and before.op_type == "Add":
            tensor, path = name_of(before.inputs[0]), path[:-1]
        roundings[pair] = Rounding(
            name=pair.name or "",
            source=tensor,
            step=step.reshape(-1),
            zero=zero.reshape(-1) + shifts[pair],
            step_back=(step if back is None else array(back.inputs[1])).reshape(-1),
            zero_back=(zero if back is None else array(_third(back))).reshape(-1) + shifts[pair],
            low=low,
            high=high,
            path=path,
        )
    found = []
    for node in layers:
        weight = array(node.inputs[1])
        bias = array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        quantizer, product = _quantizer_before(node.inputs[0]), products[node]
        source = None if quantizer is None else roundings.get(quantizer)
        if quantizer is not None and source is not None and shifts[quantizer]:
            others = [i for i in range(weight.ndim) if i != output_axis(node, weight.ndim)]
            added = shifts[quantizer] * source.step_back * weight.sum(axis=tuple(others))
            bias = added if bias is None else bias + added
        scale = stored[node]
        found.append(
            QuantizedLayer(
                node,
                weight,
                bias,
                stored_bits(stored[node]),
                None if product is None else _factors(product, array(product.inputs[1])),
                tuple(roundings[p] for p, (owner, _) in owners.items() if owner is node),
                source,
                scale is not None and array(scale.inputs[1]).size == 1,
            )
        )
    tail = post_processing(graph)
    behind = frozenset(name_of(value) for node in tail for value in node.outputs)
    return QuantizedModel(model, tuple(found), {r.name: r for r in roundings.values()}, behind)


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


def _shift(pair: ir.Node, step: NDArray[np.float64], zero: NDArray[np.float64]) -> int:
    """How many steps were added to a tensor in place of a zero point: ``ShiftNegativeCorrection``.

    What reads the tensor has them in its bias.
    """
    node = _behind_which(pair.inputs[0], PAIR | LAYOUT | {"MaxPool", "Resize", "Pad"})
    # What is added to the picture itself is how the model was written.
    behind = node is not None and node.op_type == "Add" and producer_of(node.inputs[0]) is not None
    added = scalar(node.inputs[1]) if node is not None and behind else None
    if added is None or step.size > 1 or zero.any() or _integers(pair)[0] < 0:
        return 0
    steps = added / float(step.reshape(-1)[0])
    whole = math.isclose(steps, round(steps), rel_tol=1e-5)
    return round(steps) if whole and 0 < steps <= _integers(pair)[1] else 0


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


def _own_pairs(
    layer: ir.Node, moving: set[ir.Value], end: ir.Node | None = None
) -> list[tuple[ir.Node, tuple[str, ...]]]:
    """The quantizers of a layer's output before some node, with the operators before each."""
    paths: dict[ir.Value, tuple[str, ...]] = {layer.outputs[0]: ()}
    waiting, found = [layer.outputs[0]], []
    while waiting:
        value = waiting.pop(0)
        for node in (use.node for use in value.uses()):
            if node is end:
                continue
            if node.op_type == "QuantizeLinear":
                found.append((node, paths[value]))
            inputs = [v for v in node.inputs if v is not None and constant(v) is None]
            data = inputs[:1] if node.op_type in PAIR else inputs
            computed = POINTWISE | PAIR | {"Add", "Div", "Mul", "Min", "Max"}
            if node.op_type in computed and all(v in paths or v not in moving for v in data):
                longest = max((paths[v] for v in data if v in paths), key=len)
                here = longest if node.op_type in PAIR else (*longest, node.op_type)
                if node.outputs[0] not in paths:
                    paths[node.outputs[0]] = here
                    waiting.append(node.outputs[0])
    return found


def _quantizer_before(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear that a layer's input comes from, through what only moves values."""
    node = _behind_which(value, (_ON_THE_WAY | {"MaxPool", "Resize"}) - {"QuantizeLinear"})
    return node if node is not None and node.op_type == "QuantizeLinear" else None


def _behind_which(value: ir.Value | None, on_the_way: Collection[str]) -> ir.Node | None:
    """The node that a value comes from, through operators of these types."""
    node = producer_of(value)
    while node is not None and node.op_type in on_the_way:
        node = producer_of(node.inputs[0])
    return node


def _stored(node: ir.Node) -> ir.Node | None:
    """The DequantizeLinear of a layer's weights; None where they are float."""
    value = node.inputs[1]
    while (producer := producer_of(value)) is not None:
        if producer.op_type == "DequantizeLinear":
            return producer
        value = producer.inputs[0] if producer.inputs else None
    return None


def _bits(codes: NDArray[np.generic], zero: NDArray[np.float64], axis: int) -> int:
    """Bits that hold the integers of a layer around their zero point, two at least.

    Where they are packed, these are fewer than their type has; with zero points beside the middle
    of the type they would be more, and are those of the type. Where they are on levels, they are
    those of the levels.
    """
    most = ir.DataType.from_numpy(codes.dtype).bitwidth
    if not codes.size:
        return most
    if codes.dtype == np.int8 and not zero.any() and codes.ndim > 1:
        on_levels = code_bits(codes.astype(np.int8), axis % codes.ndim)
        if on_levels is not None:
            return on_levels
    low = float(codes.min()) - float(zero.max())
    high = float(codes.max()) - float(zero.min())
    bits = 2
    while bits < most and not -(2 ** (bits - 1)) <= low <= high < 2 ** (bits - 1):
        bits += 1
    return bits


def _product_behind(layer: ir.Node, moving: set[ir.Value]) -> ir.Node | None:
    """The Mul or Div by what does not depend on the picture, behind a layer."""
    value = layer.outputs[0]
    for _ in range(10):
        nodes = [use.node for use in value.uses()]
        if len(nodes) != 1:
            return None
        (node,) = nodes
        if node.op_type in ("Mul", "Div") and node.inputs[0] is value:
            return node if node.inputs[1] not in moving else None
        if node.op_type not in _ON_THE_WAY:
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
