"""The optimiser step as nodes, so that one iteration is one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zqc.autodiff.emitter import Emitter, dims

if TYPE_CHECKING:
    import onnx_ir as ir

    from zqc.autodiff.emitter import Operand


def adam_step(
    model: ir.Model,
    parameter: ir.Value,
    gradient: ir.Value,
    first_moment: ir.Value,
    second_moment: ir.Value,
    step_size: ir.Value,
    second_correction: ir.Value,
    floor: ir.Value,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Append one step of Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1).

    With m ← beta1·m + (1 − beta1)·g and v ← beta2·v + (1 − beta2)·g²,
    p ← p − step_size·m / (√(v·second_correction) + floor).

    The host computes the three scalars of step t = 1, 2, …:

    - Adam: step_size = rate / (1 − beta1^t), second_correction = 1 / (1 − beta2^t) and
      floor = epsilon.
    - RAdam (Liu et al. 2020, arXiv:1908.03265, algorithm 2) with a tractable variance: the same,
      the step size times the rectification.
    - RAdam before that, momentum alone: the same step size, second_correction = 0 and floor = 1.

    Args:
        model: The model whose graph gets the nodes.
        parameter: p, float32.
        gradient: g, of the same shape.
        first_moment: m / (1 − beta1), of the same shape, 0 before step t = 1. Without the factor
            the step takes one pass over memory less.
        second_moment: v / (1 − beta2), 0 before step t = 1. Of the same shape, or of size 1 along
            axes that share one, which then is the mean of theirs (Adam-mini, arXiv:2406.16793).
        step_size: Float scalar.
        second_correction: Float scalar.
        floor: Float scalar; keeps the quotient finite.
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.

    Returns:
        The new p and both moments, named ``<name>_next``. They are not yet outputs of the graph.
    """
    emitter = Emitter(model.graph)

    def op(op_type: str, *operands: Operand) -> ir.Value:
        return emitter.op(op_type, operands, {}, f"{parameter.name}_adam")

    mean = op("Add", op("Mul", first_moment, beta1), gradient)
    square = op("Mul", gradient, gradient)
    shared = [axis for axis, size in enumerate(dims(second_moment)) if size != dims(gradient)[axis]]
    if shared:
        square = emitter.mean(square, shared, f"{square.name}")
    variance = op("Add", op("Mul", second_moment, beta2), square)
    step, correction = op("Mul", step_size, 1 - beta1), op("Mul", second_correction, 1 - beta2)
    root = op("Add", op("Sqrt", op("Mul", variance, correction)), floor)
    moved = op("Sub", parameter, op("Div", op("Mul", mean, step), root))
    new = [(moved, parameter), (mean, first_moment), (variance, second_moment)]
    parameter_next, mean_next, variance_next = (
        emitter.named(value, f"{old.name}_next") for value, old in new
    )
    return parameter_next, mean_next, variance_next
