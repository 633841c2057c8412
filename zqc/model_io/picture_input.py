"""The picture among the inputs of a model, brought into the form that zqc works with.

That is float32, channels first, the first of the inputs. What files have instead is computed from
it: by nothing where the model casts 8-bit pixels itself, by one Transpose where channels come last.
``interface`` puts the form of the file back.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import Namer, add_initializer, constant, ints, sole_consumer
from zqc.errors import ModelError
from zqc.model_io.admission import described
from zqc.pictures.model_input import has_channels_last

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

_TYPES = (ir.DataType.FLOAT, ir.DataType.UINT8)

_MOVES = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that move the values of their first input, whatever their type."""

_BINARY = frozenset({"Add", "Div", "Mul", "Sub"})


def find(model: ir.Model, given: Collection[str]) -> ir.Value:
    """Return the input that takes the pictures.

    It is the one of four dimensions with float or 8-bit values; of several, the only one that
    something reads, has no given values and is not called a mask.

    Args:
        model: A model without half-precision floats.
        given: Names of the inputs whose values are given.

    Raises:
        ModelError: There is none, several may be it, or its channels are open.
    """
    inputs = model.graph.inputs
    found = "; ".join(map(described, inputs)) or "none"
    pictures = [
        v for v in inputs if v.dtype in _TYPES and v.shape is not None and len(v.shape) == 4
    ]
    pictures = [v for v in pictures if v.name not in given] or pictures
    pictures = [v for v in pictures if v.uses()] or pictures
    pictures = [v for v in pictures if "mask" not in (v.name or "").lower()] or pictures
    if len(pictures) > 1:
        raise ModelError(
            f"a detector with one image input is needed, but the inputs are: {found}; give the "
            "values of those that are no pictures with --input NAME=VALUES, or export it with one "
            "picture as input"
        )
    if not pictures:
        raise ModelError(_why_none(model, found))
    (picture,) = pictures
    sizes = sizes_of(picture)
    channels = sizes[3 if has_channels_last(sizes) else 1]
    if not isinstance(channels, int) or channels < 1:
        raise ModelError(
            f"the number of channels is left open: {found}; export it with a fixed one"
        )
    return picture


def canonical(model: ir.Model, picture: ir.Value) -> ir.Value:
    """Make the picture the first input, float32 and channels first; return it.

    Inputs that nothing reads are dropped. Everything keeps its name, and its value.
    """
    graph = model.graph
    others = [v for v in graph.inputs if v is not picture and (v.uses() or v.is_graph_output())]
    graph.inputs[:] = [picture, *others]
    if picture.dtype is ir.DataType.UINT8:
        picture = _as_float(graph, picture)
    if has_channels_last(sizes_of(picture)):
        picture = _channels_first(graph, picture)
    return picture


def _why_none(model: ir.Model, found: str) -> str:
    """What an input is that might have been meant as the picture."""
    inputs = model.graph.inputs
    if any(v.shape is None or len(v.shape) == 4 for v in inputs):
        return f"the picture must be float32, float16 or uint8, but the inputs are: {found}"
    return (
        "the input must have the shape (batch, channels, height, width), or (batch, height, "
        f"width, channels), but is {found}; export the model with a picture as input"
    )


def sizes_of(value: ir.Value) -> list[int | str | None]:
    """Sizes of an input; the name, or None, where one is open."""
    shape = value.shape.dims if value.shape is not None else ()
    return [(d if d > 0 else None) if isinstance(d, int) else d.value for d in shape]


def _as_float(graph: ir.Graph, picture: ir.Value) -> ir.Value:
    """Let a model read its pixels as floats: its casts to float then have nothing left to do.

    Where it computes with the integers in another way, it gets them by a Cast.
    """
    moved: list[ir.Node] = []
    values, todo = {picture}, [picture]
    while todo:
        for node, _ in todo.pop().uses():
            if node.op_type == "Cast" or node in moved:
                continue
            if node.graph is not graph or node.domain != "" or not _moves(node, values):
                return _before_cast(graph, picture)
            moved.append(node)
            values.update(node.outputs)
            todo += node.outputs
    for value in values:
        value.dtype = ir.DataType.FLOAT
    for node in moved:
        for index, read in enumerate(node.inputs):
            pixels = constant(read)
            if pixels is not None and pixels.dtype == np.uint8:
                name = Namer(graph)(f"{node.outputs[0].name}_constant")
                added = add_initializer(graph, name, pixels.astype(np.float32))
                node.replace_input_with(index, added)
    for value in values:
        for node, _ in tuple(value.uses()):
            if _is_cast_to_float(node) and not node.outputs[0].is_graph_output():
                ir.convenience.replace_all_uses_with(node.outputs[0], value)
                graph.remove(node, safe=True)
    return picture


def _is_cast_to_float(node: ir.Node) -> bool:
    return node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT


def _moves(node: ir.Node, values: set[ir.Value]) -> bool:
    """Whether a node only moves pixels."""
    if node.op_type in _MOVES:
        return node.inputs[0] in values
    known = [value in values or constant(value) is not None for value in node.inputs]
    return node.op_type in ("Concat", "Pad") and all(known)


def _before_cast(graph: ir.Graph, picture: ir.Value) -> ir.Value:
    pixels = ir.node("Cast", [picture], {"to": int(picture.dtype or 0)})
    return _in_front(graph, picture, pixels, ir.DataType.FLOAT, picture.shape)


def _channels_first(graph: ir.Graph, picture: ir.Value) -> ir.Value:
    """Take the picture channels first, and move the Transpose that it needs as far as it goes.

    Mostly that is to the Transpose of the model, and both are gone.
    """
    batch, height, width, channels = picture.shape or ir.Shape([None] * 4)
    turned = ir.node("Transpose", [picture], {"perm": list(_TO_LAST)})
    shape = ir.Shape([batch, channels, height, width])
    picture = _in_front(graph, picture, turned, picture.dtype, shape)
    node: ir.Node | None = turned
    while node is not None:
        node = _sunk(graph, node)
    return picture


def _in_front(
    graph: ir.Graph,
    old: ir.Value,
    node: ir.Node,
    dtype: ir.DataType | None,
    shape: ir.Shape | None,
) -> ir.Value:
    """Put an input with the name of an old one before a node that makes the old one from it."""
    name = Namer(graph)
    new = ir.Value(name=old.name, type=ir.TensorType(dtype or ir.DataType.FLOAT), shape=shape)
    made = node.outputs[0]
    made.name, made.type, made.shape = name(f"{old.name}_as_given"), old.type, old.shape
    node.name = name(f"{old.name}_{node.op_type.lower()}")
    ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
    graph.inputs[list(graph.inputs).index(old)] = new
    node.replace_input_with(0, new)
    graph.insert_before(graph[0], node)
    return new


def _sunk(graph: ir.Graph, turned: ir.Node) -> ir.Node | None:
    """Move a Transpose to channels last behind what alone reads it; None where it ends."""
    source, value = turned.inputs[0], turned.outputs[0]
    assert source is not None
    readers = [use.node for use in value.uses()]
    if all(map(_turns_back, readers)) and not value.is_graph_output():
        for reader in readers:
            ir.convenience.replace_all_uses_with(reader.outputs[0], source)
            graph.remove(reader, safe=True)
        graph.remove(turned, safe=True)
        return None
    behind = sole_consumer(value)
    inputs = None if behind is None else _channels_first_inputs(behind, value)
    if behind is None or inputs is None or behind.graph is not graph:
        return None
    name, result = Namer(graph), behind.outputs[0]
    for index, array in inputs.items():
        added = add_initializer(graph, name(f"{result.name}_constant"), array)
        behind.replace_input_with(index, added)
    behind.replace_input_with(list(behind.inputs).index(value), source)
    last = ir.node("Transpose", [result], {"perm": list(_TO_LAST)}, name=name("transpose"))
    ir.convenience.replace_all_uses_with(result, last.outputs[0], replace_graph_outputs=True)
    last.replace_input_with(0, result)
    last.outputs[0].type, result.shape = result.type, None
    last.outputs[0].name, result.name = result.name, name(f"{result.name}_channels_first")
    graph.insert_after(behind, last)
    graph.remove(turned, safe=True)
    return last


def _turns_back(node: ir.Node) -> bool:
    return (
        node.op_type == "Transpose"
        and node.domain == ""
        and ints(node, "perm", ()) == _TO_FIRST
        and not node.outputs[0].is_graph_output()
    )


def _channels_first_inputs(node: ir.Node, value: ir.Value) -> dict[int, NDArray[np.generic]] | None:
    """The constants of an elementwise node or a Pad for channels first; None for other nodes."""
    if node.domain != "":
        return None
    if node.op_type in ("Cast", "Identity"):
        return {}
    if node.op_type in _BINARY and len(node.inputs) == 2:
        index = 1 if node.inputs[0] is value else 0
        array = constant(node.inputs[index])
        if array is None or array.ndim > 4 or node.inputs[0] is node.inputs[1]:
            return None
        whole = array.reshape((1,) * (4 - array.ndim) + array.shape)
        return {index: np.ascontiguousarray(whole.transpose(_TO_FIRST))} if array.size > 1 else {}
    if node.op_type == "Pad" and len(node.inputs) in (2, 3):
        pads = constant(node.inputs[1])
        if pads is None or pads.size != 8:
            return None
        return {1: np.ascontiguousarray(pads.reshape(2, 4)[:, _TO_FIRST].reshape(8))}
    return None
