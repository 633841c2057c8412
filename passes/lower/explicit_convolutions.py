"""Attributes of convolutions written out, for runtimes that do not know ONNX's defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import int_attribute, ints

_AUTOMATIC = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class ExplicitConvolutions(ir.passes.InPlacePass):
    """Give every Conv and ConvTranspose all of its attributes. Exact: they say what held before.

    1. ``kernel_shape``, ``strides``, ``dilations``, ``group``; ``output_padding`` of ConvTranspose.
    2. ``pads`` instead of ``auto_pad``: zeros for NOTSET and VALID.
    3. Left as it is: SAME and ``output_shape``, which ``ExplicitPads`` resolves where sizes are
       known, and a weight of unknown shape.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Complete every convolution."""
        modified = False
        for node in model.graph:
            if node.op_type in ("Conv", "ConvTranspose") and node.domain == "":
                modified = _complete(node) or modified
        return ir.passes.PassResult(model, modified)


def _complete(node: ir.Node) -> bool:
    weight = node.inputs[1]
    shape = weight.shape if weight is not None else None
    if shape is None or not all(isinstance(size, int) for size in shape):
        return False
    kernel = [int(str(size)) for size in list(shape)[2:]]
    before = set(node.attributes)
    ones = (1,) * len(kernel)
    strides, dilations = ints(node, "strides", ones), ints(node, "dilations", ones)
    _set(node, "kernel_shape", kernel)
    _set(node, "strides", strides)
    _set(node, "dilations", dilations)
    if node.op_type == "ConvTranspose":
        _set(node, "output_padding", ints(node, "output_padding", (0,) * len(kernel)))
    if "group" not in node.attributes:
        node.attributes["group"] = ir.AttrInt64("group", int_attribute(node, "group", 1))
    attribute = node.attributes.get("auto_pad")
    auto = "NOTSET" if attribute is None else attribute.as_string()
    if auto not in _AUTOMATIC and "output_shape" not in node.attributes:
        _set(node, "pads", ints(node, "pads", (0,) * (2 * len(kernel))))
        node.attributes.pop("auto_pad", None)
    return set(node.attributes) != before


def _set(node: ir.Node, name: str, values: Sequence[int]) -> None:
    if name not in node.attributes:
        node.attributes[name] = ir.AttrInt64s(name, list(values))
