"""Inputs and outputs of a file as its users know them: names, types, shapes, notes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx


def restore(
    graph: onnx.GraphProto,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> None:
    """Declare inputs and outputs of a graph as they were declared, in place.

    1. Sizes that were open and are fixed now, by the options or for the target, stay fixed. Then
       open sizes of outputs are those that were inferred.
    2. Else outputs are declared as they were, even where more is known of them. A declared size
       that contradicts what was inferred is put right.
    3. What has another type or number of dimensions now is left alone, apart from its note.

    Args:
        graph: The graph that is written.
        inputs: How the source declares its inputs; parameters among them do not matter.
        outputs: How it declares its outputs.
    """
    fixed = False
    for value, declared in _pairs(graph.input, inputs):
        fixed |= _declare(value, declared, sizes=True)
    for value, declared in _pairs(graph.output, outputs):
        _declare(value, declared, sizes=fixed)


def _declare(value: onnx.ValueInfoProto, declared: onnx.ValueInfoProto, *, sizes: bool) -> bool:
    """Declare a value as it was, but for sizes that are known better now.

    Args:
        value: Changed in place.
        declared: What it becomes.
        sizes: Whether sizes that were open become those that are known now.

    Returns:
        Whether an open size is known now.
    """
    now = onnx.ValueInfoProto()
    now.CopyFrom(value)
    value.CopyFrom(declared)
    if not value.type.tensor_type.HasField("shape"):  # onnx asks for one, ONNX Runtime does not
        value.type.CopyFrom(now.type)
        return False
    found = False
    known, dimensions = (v.type.tensor_type.shape.dim for v in (now, value))
    for before, after in zip(dimensions, known, strict=False):
        if after.dim_value > 0 and after.dim_value != before.dim_value:
            is_open = before.dim_value <= 0
            found |= is_open
            if sizes or not is_open:
                before.CopyFrom(after)
    return found


def _pairs(
    values: Iterable[onnx.ValueInfoProto], declared: Iterable[onnx.ValueInfoProto]
) -> Iterable[tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]]:
    """Each value with how it was declared, where the two do not contradict each other."""
    known = {each.name: each for each in declared}
    for value in values:
        if value.name not in known:
            continue
        before = known[value.name]
        if _fits(value.type, before.type):
            yield value, before
        else:
            value.doc_string = before.doc_string


def _fits(now: onnx.TypeProto, before: onnx.TypeProto) -> bool:
    """Whether a type may be declared where another one is known."""
    if now.WhichOneof("value") != before.WhichOneof("value"):
        return not now.WhichOneof("value")
    if not now.HasField("tensor_type"):
        return True
    one, other = now.tensor_type, before.tensor_type
    if not (one.HasField("shape") and other.HasField("shape")):
        return bool(one.elem_type == other.elem_type)
    return one.elem_type == other.elem_type and len(one.shape.dim) == len(other.shape.dim)
