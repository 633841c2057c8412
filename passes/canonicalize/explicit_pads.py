"""Paddings that are computed from sizes become numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from passes.graph import int_attribute, ints

logger = logging.getLogger(__name__)

_POOLS = ("AveragePool", "LpPool", "MaxPool")
_PADDED = ("Conv", "ConvTranspose", *_POOLS)


@dataclass(frozen=True)
class ExplicitPads(ir.passes.InPlacePass):
    """Write ``pads`` instead of ``auto_pad`` and ``output_shape``. Exact.

    n inputs, kernel k, stride s, dilation d; a kernel covers e = (k − 1)·d + 1 inputs.

    1. NOTSET is the default and goes; VALID are zeros.
    2. SAME of Conv, AveragePool, LpPool and MaxPool makes ⌈n/s⌉ outputs, so it pads
       (⌈n/s⌉ − 1)·s + e − n in all: the odd one at the end (UPPER) or at the beginning (LOWER).
    3. SAME of ConvTranspose makes n·s outputs, ``output_shape`` makes m: the padding takes away
       (n − 1)·s + a + e − m, where a is ``output_padding``; the odd one at the end (UPPER) or at
       the beginning (LOWER, and NOTSET with ``output_shape``). Where the inputs do not reach as
       far as that, ``output_padding`` says so.
    4. Declined: sizes that are not known, ``output_shape`` a stride and more beyond what the inputs
       reach, SAME of a ConvTranspose whose inputs do not reach n·s outputs (there ONNX and its
       runtimes disagree), and ``ceil_mode`` with SAME.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Complete every operator that pads."""
        modified = False
        for node in model.graph:
            if node.op_type in _PADDED and node.domain == "":
                modified = _rewrite(node) or modified
        return ir.passes.PassResult(model, modified)


@dataclass(frozen=True)
class _Axis:
    """One axis: sizes and strides as in the formulas."""

    n: int
    covered: int
    stride: int

    def forward(self) -> int:
        """Case 2, all of the padding."""
        return max((-(-self.n // self.stride) - 1) * self.stride + self.covered - self.n, 0)

    def transposed(self, outputs: int, added: int) -> int:
        """Case 3, all of the padding; negative where the inputs do not reach as far."""
        return (self.n - 1) * self.stride + added + self.covered - outputs


def _rewrite(node: ir.Node) -> bool:
    attribute = node.attributes.get("auto_pad")
    auto = "NOTSET" if attribute is None else attribute.as_string()
    if auto.startswith("SAME") or "output_shape" in node.attributes:
        axes = _axes(node)
        totals = None if axes is None else _totals(node, axes)
        if totals is None:
            logger.debug("%s keeps its automatic padding", node.name)
            return False
        begins = [total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals]
        ends = [total - begin for total, begin in zip(totals, begins, strict=True)]
        node.attributes["pads"] = ir.AttrInt64s("pads", begins + ends)
    elif attribute is None:
        return False
    elif auto == "VALID":
        node.attributes.pop("pads", None)
    node.attributes.pop("auto_pad", None)
    node.attributes.pop("output_shape", None)
    return True


def _totals(node: ir.Node, axes: Sequence[_Axis]) -> list[int] | None:
    """All of the padding of each axis; a longer output goes to ``output_padding``."""
    if node.op_type != "ConvTranspose":
        return [axis.forward() for axis in axes]
    added = ints(node, "output_padding", (0,) * len(axes))
    outputs = ints(node, "output_shape", [axis.n * axis.stride for axis in axes])[-len(axes) :]
    totals = [a.transposed(m, more) for a, m, more in zip(axes, outputs, added, strict=True)]
    longer = [more + max(-total, 0) for more, total in zip(added, totals, strict=True)]
    if any(more >= axis.stride for more, axis in zip(longer, axes, strict=True)):
        return None
    if longer != list(added):
        if "output_shape" not in node.attributes:
            return None
        node.attributes["output_padding"] = ir.AttrInt64s("output_padding", longer)
    return [max(total, 0) for total in totals]


def _axes(node: ir.Node) -> list[_Axis] | None:
    kernel, sizes = _kernel(node), _sizes(node.inputs[0])
    if kernel is None or sizes is None or len(kernel) != len(sizes):
        return None
    if int_attribute(node, "ceil_mode", 0):
        return None
    ones = (1,) * len(kernel)
    strides, dilations = ints(node, "strides", ones), ints(node, "dilations", ones)
    return [
        _Axis(n, (k - 1) * d + 1, s)
        for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]


def _kernel(node: ir.Node) -> Sequence[int] | None:
    if "kernel_shape" in node.attributes:
        return ints(node, "kernel_shape", ())
    return _sizes(node.inputs[1]) if node.op_type not in _POOLS else None


def _sizes(value: ir.Value | None) -> list[int] | None:
    """Sizes behind the first two axes, where all of them are known."""
    if value is None or value.shape is None:
        return None
    sizes = [size for size in list(value.shape)[2:] if isinstance(size, int)]
    return sizes if len(sizes) == len(value.shape) - 2 else None
