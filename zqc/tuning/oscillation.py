"""A remedy against weights that swing between two steps to the end of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from zqc.detection.losses.writing import Pen

if TYPE_CHECKING:
    from zqc.autodiff.emitter import Emitter
    from zqc.tuning.trainable import Parameter


def dampening(emitter: Emitter, parameters: Sequence[Parameter]) -> tuple[ir.Value, list[ir.Node]]:
    """Emit 12·mean((w − clip(round(w)))²) over all weights, in steps; the middle of a bin is 0.

    It is 1 where weights lie anywhere in their bins, all places being as likely; on levels that are
    not uniform a weight is pulled to its level. Its gradient pulls
    a weight to the integer that it is rounded to (Nagel et al., Overcoming Oscillations in
    Quantization-Aware Training, ICML 2022, section 4.1).

    Args:
        emitter: Appends to the graph.
        parameters: What is trained; biases are left out.

    Returns:
        A scalar, and the nodes that no gradient goes through.
    """
    pen = Pen(emitter, "dampening")
    weights = [each for each in parameters if not each.is_bias]
    around, total = [], None
    for each in weights:
        rounded = _rounded(pen, each)
        node = rounded.producer()
        assert node is not None  # a parameter is no constant
        around.append(node)
        apart = pen("Sub", each.value, rounded)
        apart.shape = each.value.shape
        squares = pen.shaped(pen("ReduceSum", pen("Mul", apart, apart), keepdims=0))
        total = squares if total is None else pen("Add", total, squares)
    count = sum(each.start.size for each in weights)
    mean = pen("Mul", total if total is not None else pen.array(0.0), 12 / max(count, 1))
    return pen.shaped(mean), around


def _rounded(pen: Pen, parameter: Parameter) -> ir.Value:
    """What a weight is rounded to, in its steps."""
    if parameter.levels is not None:
        level = parameter.levels.emit(pen.emitter, parameter.value, "dampening")
        return pen("Div", level, float(parameter.levels.stretch))
    low, high = parameter.bounds
    return pen("Clip", pen("Round", parameter.value), float(low), float(high))


def dampening_share(step: int, steps: int) -> float:
    """What the dampening counts in a step of so many, of what it counts in the last one."""
    return max(0.0, 2 * (step + 1) / steps - 1)
