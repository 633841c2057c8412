"""What exporters compute from the batch size at run time becomes constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, int_attribute, producer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_MADE_UP = "unk__"  # how onnx's shape inference begins a name that it makes up


@dataclass(frozen=True)
class FoldBatchSize(ir.passes.InPlacePass):
    """Say without the batch size what does not depend on it. Exact.

    Where the batch is free, x.view(x.shape[0], −1, 4) is Shape → Gather → Unsqueeze → Concat →
    Reshape, and nothing folds that. The pass needs inferred shapes; infer them again after it, and
    repeat both until nothing is modified, since each uncovers work for the other. What computed the
    constants is left for the removal of dead code.

    1. A Resize that leaves axis 0 alone: axis 0 of its output gets the name that it has in the
       input. (Shape inference loses it.)
    2. A Resize to sizes that are computed: they become scales, if float32 holds out / in exactly.
       Not with ``axes``, with an aspect ratio to keep, or with a region of interest.
    3. A Reshape to a Concat of positive constants and one other number: that becomes −1.
    4. A Reshape to a Concat of constants, one of them −1, behind a first number that is the size
       of an axis 0 with the name of axis 0 of the reshaped tensor: that becomes 0, "as it was".
       Not with ``allowzero``, or with a 0 among the constants.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Go through the Resizes and Reshapes of the graph."""
        graph = model.graph
        batch = _free_axis_0(graph.inputs[0]) if len(graph.inputs) else None
        if batch is None:
            return ir.passes.PassResult(model, modified=False)
        name = Namer(graph)
        modified = False
        for node in graph:
            if node.domain == "" and node.op_type == "Resize":
                modified |= _keep_batch(node, batch)
                scales = _constant_scales(node, batch)
                if scales is not None:
                    node.replace_input_with(2, _added(graph, node, name, scales))
                    node.replace_input_with(3, None)
                    modified = True
            if node.domain == "" and node.op_type == "Reshape":
                target = _constant_target(node, batch)
                if target is not None:
                    node.replace_input_with(1, _added(graph, node, name, target))
                    modified = True
        if modified:
            _forget_made_up_names(graph)
        return ir.passes.PassResult(model, modified)


def _forget_made_up_names(graph: ir.Graph) -> None:
    """Let the next shape inference name again what it had to make up names for."""
    for node in graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape(
                    None if str(size).startswith(_MADE_UP) else size for size in value.shape
                )


def _keep_batch(node: ir.Node, batch: str) -> bool:
    """Case 1."""
    output = node.outputs[0]
    if output.shape is None or _free_axis_0(node.inputs[0]) != batch:
        return False
    scales = constant(_input(node, 2))
    unscaled = scales is not None and scales.size > 0 and scales[0] == 1
    if "axes" in node.attributes or not (unscaled or _begins_with(_input(node, 3), batch)):
        return False
    if _free_axis_0(output) == batch:
        return False
    output.shape = ir.Shape([batch, *output.shape[1:]])
    return True


def _constant_scales(node: ir.Node, batch: str) -> NDArray[np.float32] | None:
    """Case 2."""
    sizes = _input(node, 3)
    if sizes is None or constant(sizes) is not None:
        return None
    mode = node.attributes.get("coordinate_transformation_mode")
    crops = mode is not None and mode.as_string() == "tf_crop_and_resize"
    if crops or node.attributes.keys() & {"axes", "keep_aspect_ratio_policy"}:
        return None
    source, output = node.inputs[0], node.outputs[0]
    if source is None or not _free_axis_0(source) == _free_axis_0(output) == batch:
        return None
    scales = [np.float32(1)]
    for before, after in zip(_sizes(source), _sizes(output), strict=True):
        if before is None or after is None:
            return None
        scales.append(np.float32(after / before))
        if float(scales[-1]) * before != after:
            return None
    return np.array(scales)


def _constant_target(node: ir.Node, batch: str) -> NDArray[np.int64] | None:
    """Cases 3 and 4."""
    concat = producer_of(node.inputs[1])
    if concat is None or concat.op_type != "Concat" or int_attribute(node, "allowzero", 0):
        return None
    if any(value is None or value.shape != [1] for value in concat.inputs):
        return None
    constants = [constant(value) for value in concat.inputs]
    known = [int(number[0]) for number in constants if number is not None]
    if len(known) != len(constants) - 1 or 0 in known:
        return None
    if -1 not in known:
        return np.array([-1 if n is None else n[0] for n in constants], np.int64)
    first = concat.inputs[0]
    if _begins_with(first, batch) and _free_axis_0(node.inputs[0]) == batch:
        return np.array([0, *known], np.int64)
    return None


def _begins_with(vector: ir.Value | None, batch: str) -> bool:
    """Whether the first number of a vector of sizes is the batch size."""
    node = producer_of(vector)
    if node is None or node.domain != "" or not node.inputs:
        return False
    if node.op_type in ("Gather", "Slice"):
        first = constant(_input(node, 1))
        if first is None or first.reshape(-1)[0] != 0:
            return False
    if node.op_type == "Shape":
        return not int_attribute(node, "start", 0) and _free_axis_0(node.inputs[0]) == batch
    through = node.op_type in ("Cast", "Concat", "Gather", "Slice", "Unsqueeze")
    return through and _begins_with(node.inputs[0], batch)


def _free_axis_0(value: ir.Value | None) -> str | None:
    """The name of a free axis 0. Equal names mean equal sizes."""
    if value is None or value.shape is None or not len(value.shape):
        return None
    size = value.shape[0]
    return None if isinstance(size, int) else size.value


def _sizes(value: ir.Value) -> list[int | None]:
    """Sizes behind axis 0, None where they are free."""
    shape = value.shape.dims[1:] if value.shape is not None else ()
    return [size if isinstance(size, int) else None for size in shape]


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _added(graph: ir.Graph, node: ir.Node, name: Namer, data: NDArray[np.generic]) -> ir.Value:
    kind = "target" if node.op_type == "Reshape" else "scales"
    return add_initializer(graph, name(f"{node.outputs[0].name}_{kind}"), data)
