"""The optimiser step as nodes, so that one iteration is one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zqc.autodiff.emitter import Emitter

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
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Append one step of Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1).

    m ← beta1·m + (1 − beta1)·g, v ← beta2·v + (1 − beta2)·g²,
    p ← p − step_size·m / (√(v·second_correction) + epsilon).

    Args:
        model: The model whose graph gets the nodes.
        parameter: p, float32.
        gradient: g, of the same shape.
        first_moment: m, of the same shape, 0 before step t = 1.
        second_moment: v, of the same shape, 0 before step t = 1.
        step_size: Float scalar, learning rate / (1 − beta1^t), computed by the host.
        second_correction: Float scalar, 1 / (1 − beta2^t), computed by the host.
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.
        epsilon: Keeps the quotient finite.

    Returns:
        The new p, m and v, named ``<name>_next``. They are not yet outputs of the graph.
    """
    emitter = Emitter(model.graph)

    def op(op_type: str, *operands: Operand) -> ir.Value:
        return emitter.op(op_type, operands, {}, f"{parameter.name}_adam")

    kept, fresh = op("Mul", first_moment, beta1), op("Mul", gradient, 1 - beta1)
    mean = op("Add", kept, fresh)
    square = op("Mul", op("Mul", gradient, gradient), 1 - beta2)
    variance = op("Add", op("Mul", second_moment, beta2), square)
    root = op("Add", op("Sqrt", op("Mul", variance, second_correction)), epsilon)
    moved = op("Sub", parameter, op("Div", op("Mul", mean, step_size), root))
    new = [(moved, parameter), (mean, first_moment), (variance, second_moment)]
    parameter_next, mean_next, variance_next = (
        emitter.named(value, f"{old.name}_next") for value, old in new
    )
    return parameter_next, mean_next, variance_next
