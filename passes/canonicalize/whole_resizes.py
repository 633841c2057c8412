"""Resize with a scale or a size for every axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import Namer, add_initializer, constant, ints


@dataclass(frozen=True)
class WholeResizes(ir.passes.InPlacePass):
    """Write Resize without ``axes``. Exact: the other axes keep their sizes.

    From opset 18 on a Resize can name the axes that it changes. ONNX Runtime turns such a Resize
    between quantized tensors into one that it then refuses to load.

    1. Constant scales: 1 for every other axis.
    2. Constant sizes: the scales that runtimes work out from them, size after by size before in
       float32, where these give back the sizes; else the sizes of all axes where they are known.
    3. Declined: computed scales or sizes, a ``roi`` (``tf_crop_and_resize``), a policy for the
       aspect ratio, open sizes that case 2 needs.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite every Resize that qualifies."""
        name = Namer(model.graph)
        modified = False
        for node in model.graph:
            if node.op_type == "Resize" and node.domain == "" and "axes" in node.attributes:
                modified = _rewrite(model.graph, node, name) or modified
        return ir.passes.PassResult(model, modified)


def _rewrite(graph: ir.Graph, node: ir.Node, name: Namer) -> bool:
    source, scales, sizes = node.inputs[0], _input(node, 2), _input(node, 3)
    shape = None if source is None else source.shape
    policy, mode = (
        attribute.as_string() if (attribute := node.attributes.get(key)) is not None else ""
        for key in ("keep_aspect_ratio_policy", "coordinate_transformation_mode")
    )
    if shape is None or policy not in ("", "stretch") or mode == "tf_crop_and_resize":
        return False
    axes = [axis % len(shape) for axis in ints(node, "axes", ())]
    given = constant(scales if scales is not None else sizes)
    if given is None or given.size != len(axes):
        return False
    before = [shape[axis] for axis in axes]
    known = np.array([size if isinstance(size, int) else 0 for size in before], np.float32)
    if scales is None:
        factors = given.astype(np.float32) / np.where(known > 0, known, np.float32(1))
        if not np.all(known > 0) or np.any(np.floor(known * factors) != given):
            return _with_sizes(graph, node, axes, name)
    else:
        factors = given.astype(np.float32)
    whole = np.ones(len(shape), np.float32)
    whole[axes] = factors
    _replace(graph, node, 2, whole, name)
    return True


def _with_sizes(graph: ir.Graph, node: ir.Node, axes: list[int], name: Namer) -> bool:
    """Give a Resize the sizes of all axes, where the others are known."""
    source, given = node.inputs[0], constant(_input(node, 3))
    assert source is not None
    assert source.shape is not None
    assert given is not None  # who calls knows
    whole: list[int] = []
    for axis, size in enumerate(source.shape):
        if axis not in axes and not isinstance(size, int):
            return False
        whole.append(int(given[axes.index(axis)]) if axis in axes else int(str(size)))
    _replace(graph, node, 3, np.array(whole), name)
    return True


def _replace(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray, name: Namer) -> None:
    """Give a Resize one constant for all axes, as scales (2) or sizes (3), and no axes."""
    stem = f"{node.name}_{'scales' if index == 2 else 'sizes'}"
    node.resize_inputs(index + 1)
    node.replace_input_with(1, None)
    node.replace_input_with(2, None)
    node.replace_input_with(index, add_initializer(graph, name(stem), array))
    node.attributes.pop("axes")


def _input(node: ir.Node, index: int) -> ir.Value | None:
    """An optional input; an empty constant counts as none."""
    value = node.inputs[index] if index < len(node.inputs) else None
    array = constant(value)
    return None if array is not None and array.size == 0 else value
