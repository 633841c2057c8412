"""The loss of training: how far quantized tensors are from those of the float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.autodiff.emitter import Emitter, dims
from zqc.calibration.sensitivity import sensitivities
from zqc.calibration.squared_gradients import Sensitivity
from zqc.calibration.tensor_reader import TensorReader

_TEACHER = "float/"
"""What the names of the float model begin with where it stands beside the quantized one."""


@dataclass(frozen=True)
class Importance:
    """What errors of the tensors of a float model count.

    Attributes:
        weights: By name of the tensor, what the mean squared error of each channel is multiplied
            with, (C,); of everything, (1,), below rank 2.
        deviations: By name of a tensor, its standard deviation.
    """

    weights: Mapping[str, NDArray[np.float64]]
    deviations: Mapping[str, float]


def importance(
    model: ir.Model,
    tensors: Sequence[str],
    others: Sequence[str],
    batches: Sequence[NDArray[np.float32]],
    *,
    known: Mapping[str, Sensitivity] | None = None,
    fisher: bool = True,
    seed: int,
    threads: int | None,
) -> Importance:
    """Weigh the errors of tensors.

    With the variance v of a tensor and the Fisher diagonal F_c of a channel
    (``zqc.calibration.sensitivity``), the error e of a channel counts √(F_c / v)·E[e²]. That is the
    geometric mean of F_c·E[e²], what the outputs lose by it, and E[e²]/v, the share of its own
    power. The first alone forgets whatever the few pictures did not ask for, the second alone that
    most channels hardly matter; our choice, see docs/methods.md.

    Args:
        model: The float model.
        tensors: Names of tensors whose errors are to count; those that no output depends on don't.
        others: Names of tensors whose deviation is wanted as well.
        batches: A few pictures.
        known: What calibration has found of this model, if it has measured sensitivities.
        fisher: Whether F_c counts; else the error of a channel counts 1/(v·C)·E[e²].
        seed: Of the gradients' random signs.
        threads: Threads of ONNX Runtime.
    """
    names = list(dict.fromkeys([*tensors, *others]))
    reader = TensorReader(model, names, threads=threads)
    sums = {name: np.zeros(3) for name in names}
    for batch in batches:
        for name, values in reader(batch).items():
            if name in sums:
                exact = values.astype(np.float64)
                sums[name] += exact.size, exact.sum(), np.square(exact).sum()
    deviations = {
        name: float(np.sqrt(max(squares / count - (total / count) ** 2, 0.0)))
        for name, (count, total, squares) in sums.items()
    }
    found = known or sensitivities(model, list(tensors), batches, seed=seed, threads=threads)
    counted = {
        name: found[name].fisher_diagonal
        for name in tensors
        if name in found and deviations[name] > 0 and found[name].fisher_diagonal.any()
    }
    weights = {
        name: np.sqrt(diagonal) / deviations[name] if fisher else np.array([deviations[name] ** -2])
        for name, diagonal in counted.items()
    }
    return Importance(weights, deviations)


def beside(graph: ir.Graph, teacher: ir.Model, tensors: Sequence[str]) -> dict[str, ir.Value]:
    """Let a float model run in the same graph on the same inputs.

    Args:
        graph: Gets the nodes and the constants of the float model.
        teacher: The float model, with inputs of the same names; it is not changed.
        tensors: Names of tensors of it.

    Returns:
        The tensors by their names.
    """
    copy = teacher.clone()
    values = {output.name: output for node in copy.graph for output in node.outputs}
    found = {name: values[name] for name in tensors}
    inputs = {value.name: value for value in graph.inputs}
    for value in copy.graph.inputs:
        ir.convenience.replace_all_uses_with(value, inputs[value.name])
    copy.graph.outputs.clear()
    nodes, given = list(copy.graph), set(copy.graph.inputs)  # an input may have a usual value
    constants = [v for v in copy.graph.initializers.values() if v not in given]
    for value in [*values.values(), *constants]:
        value.name = f"{_TEACHER}{value.name}"
    for node in nodes:
        node.name = f"{_TEACHER}{node.name}"
    copy.graph.initializers.clear()
    copy.graph.remove(nodes)
    for value in constants:
        graph.register_initializer(value)
    graph.extend(nodes)
    return found


def loss(
    emitter: Emitter,
    students: Mapping[str, ir.Value],
    teachers: Mapping[str, ir.Value],
    weights: Mapping[str, NDArray[np.float64]],
) -> ir.Value:
    """Emit Σ over tensors of the weighted mean squared error, a scalar.

    Args:
        emitter: Appends to the graph.
        students: Tensors of the quantized model, by name.
        teachers: The same of the float model.
        weights: See ``Importance``; its names are those that count.
    """
    total: ir.Value | None = None
    for name, weight in weights.items():
        student, teacher = students[name], teachers[name]
        error = emitter.op("Sub", [student, teacher], {}, f"{name}_error")
        error.shape = student.shape or teacher.shape
        rank = len(dims(error))
        factor = weight.reshape(-1, *[1] * (rank - 2)) if len(weight) > 1 else weight.reshape(())
        squares = emitter.op("Mul", [error, error], {}, f"{name}_error")
        weighted = emitter.op("Mul", [squares, factor.astype(np.float32)], {}, f"{name}_error")
        weighted.shape = error.shape
        mean = emitter.op("ReduceMean", [weighted], {"keepdims": 0}, f"{name}_error")
        mean.shape = ir.Shape([])
        total = mean if total is None else emitter.op("Add", [total, mean], {}, "error")
    assert total is not None  # whoever calls this has something to train
    return total
