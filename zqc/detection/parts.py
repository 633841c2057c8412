"""What stands where in the outputs of a detector: boxes, scores, or something unknown.

One number over boxes in pixels and scores in 0…1 hides dead scores, so reports treat them apart.
The kinds are found by topology; names play no role:

1. Values that come from Sigmoid or Softmax through operators that only move or copy values are
   ``scores``.
2. The other values of an output that has scores are ``boxes``.
3. An output N × 4 × A or N × A × 4 without scores is ``boxes`` when another output is scores.
4. An output behind Sigmoid that is the boxes of queries is ``boxes``, see ``query_boxes``.
5. Anything else is ``raw``, and so is every output whose layout cannot be traced because shapes
   are unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from passes.graph import constant
from passes.operators import PAIR, RESHAPING, SQUASHING
from zqc.detection.query_boxes import are_query_boxes

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

Kind = Literal["boxes", "scores", "raw"]

# The values stay in place and in number.
_SAME = PAIR | {"Identity", "Cast"}
# These pick or repeat values: traced where all of them are of one kind, and Slice and Split always
# where their places are constant.
_PICK = frozenset({"Slice", "Split", "Gather", "GatherND", "GatherElements", "Expand", "Tile"})


@dataclass(frozen=True, eq=False)
class OutputPart:
    """The values of one kind in one output.

    Attributes:
        name: ``boxes``, ``scores`` or, where that would not be unique or for raw values, the name
            of the output.
        output: Name of the output.
        kind: What the values are.
        mask: Which values of one picture belong to it, in the shape of the output without its
            batch axis; None for all of them.
    """

    name: str
    output: str
    kind: Kind
    mask: NDArray[np.bool_] | None = None

    def values(self, output: NDArray[np.generic]) -> NDArray[np.generic]:
        """Pick this part out of an array of the output; the result is flat."""
        if self.mask is None:
            return output.reshape(-1)
        return output[:, self.mask].reshape(-1)


def output_parts(model: ir.Model) -> tuple[OutputPart, ...]:
    """Split the outputs of a model into parts, by the rules at the top of this module.

    The model is not changed. Shapes that it lacks are inferred.
    """
    inferred = ShapeInferencePass(check_type=False, strict_mode=False)(model.clone()).model
    outputs = inferred.graph.outputs
    found = [part for value in outputs for part in _split(value, outputs)]
    if any(part.kind == "scores" for part in found):
        boxes = {v.name for v in outputs if _has_box_shape(v)}
        found = [
            OutputPart(p.name, p.output, "boxes") if p.kind == "raw" and p.output in boxes else p
            for p in found
        ]
    kinds = [part.kind for part in found]
    return tuple(
        OutputPart(
            part.kind if part.kind != "raw" and kinds.count(part.kind) == 1 else part.name,
            part.output,
            part.kind,
            part.mask,
        )
        for part in found
    )


def _split(value: ir.Value, outputs: Collection[ir.Value]) -> list[OutputPart]:
    name = value.name or ""
    if are_query_boxes(value, outputs):
        return [OutputPart(name, name, "boxes")]
    scores = _scores(value)
    if scores is None or not scores.any():
        return [OutputPart(name, name, "raw")]
    if scores.all():
        return [OutputPart(name, name, "scores")]
    mask = scores[0]
    if scores.ndim < 2 or (scores != mask).any():  # axis 0 is not the batch
        return [OutputPart(name, name, "raw")]
    return [OutputPart(name, name, "boxes", ~mask), OutputPart(name, name, "scores", mask)]


def _scores(value: ir.Value) -> NDArray[np.bool_] | None:
    """Which elements of a value are scores; None when its layout cannot be traced.

    A value that is scores altogether or not at all needs no shape: it gets shape ().
    """
    node = value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return np.array(False)
    if node.op_type in SQUASHING:
        return np.array(True)
    if node.op_type == "Concat":
        return _concat([_expand(_scores(v), v) for v in node.inputs if v is not None], node)
    if node.op_type not in _SAME | RESHAPING | _PICK | {"Transpose"} or node.inputs[0] is None:
        return np.array(False)
    source = _scores(node.inputs[0])
    if source is None or source.ndim == 0 or node.op_type in _SAME:
        return source
    if node.op_type == "Transpose":
        return source.transpose(node.attributes.get_ints("perm", range(source.ndim)[::-1]))
    shape = _shape(value)
    if node.op_type in RESHAPING and shape is not None and np.prod(shape) == source.size:
        return source.reshape(shape)
    if source.all() or not source.any():
        return np.array(source.flat[0])
    return _cut(source, value, node)


def _cut(source: NDArray[np.bool_], value: ir.Value, node: ir.Node) -> NDArray[np.bool_] | None:
    """What a Slice or a Split leaves of its input, where that is constant."""
    if node.op_type == "Slice":
        return _slice(source, node)
    shapes = [_shape(v) for v in node.outputs[: value.index()]]
    shape, axis = _shape(value), node.attributes.get_int("axis", 0)
    if node.op_type != "Split" or shape is None or None in shapes:
        return None
    start = sum(each[axis] for each in shapes if each is not None)
    return source.take(range(start, start + shape[axis]), axis=axis)


def _slice(source: NDArray[np.bool_], node: ir.Node) -> NDArray[np.bool_] | None:
    """The same of a Slice that goes forwards along given axes."""
    given = [array for v in node.inputs[1:] if (array := constant(v)) is not None]
    if len(given) != len(node.inputs) - 1 or len(given) < 3:
        return None
    if len(given) == 4 and (given[3] < 1).any():
        return None
    places = [slice(None)] * source.ndim
    for start, end, axis, *step in zip(*given, strict=True):
        places[axis] = slice(int(start), int(end), *map(int, step))
    return source[tuple(places)]


def _concat(parts: list[NDArray[np.bool_] | None], node: ir.Node) -> NDArray[np.bool_] | None:
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    if all(part.all() for part in known) or not any(part.any() for part in known):
        return np.array(known[0].flat[0])
    if any(part.ndim == 0 for part in known):  # mixed, and some shape is unknown
        return None
    return np.concatenate(known, axis=node.attributes.get_int("axis"))


def _expand(scores: NDArray[np.bool_] | None, value: ir.Value) -> NDArray[np.bool_] | None:
    """Give a uniform answer the shape of its value, where that is known."""
    shape = _shape(value)
    if scores is None or scores.ndim or shape is None:
        return scores
    return np.broadcast_to(scores, shape)


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    """The static shape; a dynamic batch counts as 1, as its pictures are all alike."""
    if value.shape is None or value.shape.rank() == 0:
        return None
    batch, *rest = value.shape
    static = [size for size in rest if isinstance(size, int)]
    if len(static) != len(rest):
        return None
    return (batch if isinstance(batch, int) else 1, *static)


def _has_box_shape(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.rank() == 3 and 4 in value.shape[1:]
