"""One step of training, and one look at the loss, as ONNX graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import onnx_ir as ir

from passes.graph import name_of, remove_unused, values_by_name
from zqc.autodiff.emitter import Emitter, dims, float_input
from zqc.autodiff.engine import backward, refusals
from zqc.autodiff.optimizer import adam_step
from zqc.autodiff.shapes import are_static, infer_shapes
from zqc.detection.losses.agreement_loss import agreement_loss
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.tuning import distillation
from zqc.tuning.heads import head_divergence, head_tensors
from zqc.tuning.objective import USUAL, Objective, Part
from zqc.tuning.oscillation import dampening
from zqc.tuning.picks import pick_alike, picking
from zqc.tuning.trainable import Parameter, Trainable, trainable

MOMENTS = ("first_moment", "second_moment")
"""What Adam remembers of each parameter, behind its name."""

SCALARS = ("weight_step", "bias_step", "second_correction", "floor")
"""What a step needs from the host, see ``zqc.autodiff.optimizer``."""

AVERAGE, AVERAGE_STEP = "average", "average_step"
"""Where the moving average of a parameter is kept, behind its name; and how far it moves towards
the parameter in a step. Both only where it is asked for."""

DAMPENING = "dampening_weight"
"""What the step needs where weights are dampened."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of a training.

    Attributes:
        step: Maps pictures, parameters, their moments, ``SCALARS`` and the weight of each part of
            the loss (``weight_name``) to ``new_`` + each parameter and moment, and ``loss``.
        measure: Maps pictures and parameters to each part of the loss, in the order of ``parts``.
        parameters: The parameters.
        parts: The parts of the loss that there are. Where the detector's own is among them, both
            graphs need ``zqc.detection.losses.loss.GOALS``, too.
        detector: How the outputs are read, where that is needed; else None.
        detached: Names of the nodes that no gradient goes through.
    """

    step: ir.Model
    measure: ir.Model
    parameters: tuple[Parameter, ...]
    parts: tuple[Part, ...]
    detector: DetectorLoss | None = None
    detached: tuple[str, ...] = ()


def weight_name(part: Part) -> str:
    """The input of the step that says what a part of the loss is multiplied with."""
    return f"loss_weight_of_{part}"


def graphs(
    model: ir.Model,
    quantized: ir.Model,
    bits_of: Mapping[str, int],
    importance: distillation.Importance,
    detector: DetectorLoss | None = None,
    objective: Objective = USUAL,
) -> Graphs | None:
    """Build the graphs of a training.

    Operators without a gradient, such as TopK, are gone around: what stands before them is trained
    by the tensors before them. What TopK picks is what the float model picks, see ``pick_alike``.

    Args:
        model: The float model, its batch fixed.
        quantized: The canonical quantized model, its batch fixed to the same number.
        bits_of: Bits of the weights that are trained, by the name of their layer.
        importance: What counts.
        detector: How the outputs are read; None where that is not known: then there is neither
            agreement nor detection.
        objective: Which parts the loss has.

    Returns:
        None where no parameter has anything to do with a tensor that counts.
    """
    outputs = {node.name or "": name_of(node.outputs[0]) for node in model.graph}
    deviations = {
        layer: importance.deviations[tensor]
        for layer, tensor in outputs.items()
        if importance.deviations.get(tensor, 0.0) > 0
    }
    opened = trainable(quantized, bits_of, deviations)
    graph = opened.model.graph
    infer_shapes(opened.model)
    weights = {name: w for name, w in importance.weights.items() if name in opened.tensors}
    if not weights or not opened.parameters:
        return None
    students = {**values_by_name(graph), **opened.tensors}
    floats = values_by_name(model.graph)
    if not (objective.counts("agreement") or objective.counts("detection")) or (
        detector is not None
        and not all(are_static(detector.outputs, side) for side in (students, floats))
    ):
        detector = None
    heads = head_tensors(model.graph) if objective.counts("heads") else []
    heads = [name for name in heads if are_static([name], students) and are_static([name], floats)]
    read = () if detector is None else detector.outputs
    picks = picking(model)
    teachers = distillation.beside(graph, model, [*weights, *read, *heads, *picks])
    emitter = Emitter(graph)
    pick_alike(emitter, graph, {name: teachers[name] for name in picks})
    parts: dict[Part, ir.Value] = {
        "features": distillation.loss(emitter, students, teachers, weights)
    }
    around: list[ir.Node] = []
    goal: dict[str, ir.Value] = {}
    if detector is not None:
        student = detector.read(emitter, {name: students[name] for name in read})
        if objective.counts("agreement"):
            teacher = detector.read(emitter, {name: teachers[name] for name in read})
            parts["agreement"], nodes = agreement_loss(
                emitter, student, teacher, filtered=objective.filtered
            )
            around += nodes
        if objective.counts("detection"):
            goal = detector.inputs(_count(students[read[0]]))
            parts["detection"], nodes = detector.loss(emitter, student, goal)
            around += nodes
    if heads:
        parts["heads"] = head_divergence(emitter, students, teachers, heads)
    graph.inputs.extend(goal.values())
    graph.outputs[:] = [emitter.named(value, part) for part, value in parts.items()]
    remove_unused(opened.model)
    parameters = tuple(p for p in opened.parameters if p.value.uses())
    if not parameters:
        return None
    idle = {p.value for p in opened.parameters} - {p.value for p in parameters}
    graph.inputs[:] = [value for value in graph.inputs if value not in idle]
    measure = opened.model.clone()
    _differentiate(opened, parameters, parts, around, objective)
    detached = tuple(node.name or "" for node in around)
    return Graphs(opened.model, measure, parameters, tuple(parts), detector, detached)


def _differentiate(
    opened: Trainable,
    parameters: tuple[Parameter, ...],
    parts: Iterable[Part],
    around: Sequence[ir.Node],
    objective: Objective,
) -> None:
    """Append gradients and the steps of all parameters."""
    model, graph = opened.model, opened.model.graph
    emitter = Emitter(graph)
    weighted = []
    for part, value in zip(parts, list(graph.outputs), strict=True):
        weight = float_input(weight_name(part), ())
        graph.inputs.append(weight)
        weighted.append(emitter.op("Mul", [value, weight], {}, "loss"))
    total = reduce(lambda one, other: emitter.op("Add", [one, other], {}, "loss"), weighted)
    if objective.dampening > 0:
        far, nodes = dampening(emitter, parameters)
        around = [*around, *nodes]
        weight = float_input(DAMPENING, ())
        graph.inputs.append(weight)
        total = emitter.op("Add", [total, emitter.op("Mul", [far, weight], {}, "loss")], {}, "loss")
    total = emitter.named(total, "loss")
    total.shape = ir.Shape([])
    graph.outputs[:] = [total]
    wrt = [parameter.value for parameter in parameters]
    around = [*around, *_obstacles(model, total, wrt)]
    seed = emitter.array(np.ones((), np.float32), "loss_seed")
    gradients = backward(model, {total: seed}, wrt, around=around)
    scalars = {name: float_input(name, ()) for name in SCALARS}
    graph.inputs.extend(scalars.values())
    average_step = float_input(AVERAGE_STEP, ()) if objective.average else None
    if average_step is not None:
        graph.inputs.append(average_step)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        name = name_of(parameter.value)
        first, second = (
            float_input(f"{name}_{moment}", parameter.start.shape) for moment in MOMENTS
        )
        graph.inputs.extend([first, second])
        stepped = adam_step(
            model,
            parameter.value,
            gradient,
            first,
            second,
            scalars["bias_step" if parameter.is_bias else "weight_step"],
            scalars["second_correction"],
            scalars["floor"],
            beta2=BETA2,
        )
        pairs = list(zip([parameter.value, first, second], stepped, strict=True))
        if average_step is not None:
            old = float_input(f"{name}_{AVERAGE}", parameter.start.shape)
            graph.inputs.append(old)
            apart = emitter.op("Sub", [stepped[0], old], {}, old.name or "")
            moved = emitter.op("Mul", [apart, average_step], {}, old.name or "")
            pairs.append((old, emitter.op("Add", [old, moved], {}, old.name or "")))
        for old, new in pairs:
            new.name = f"new_{old.name}"
            graph.outputs.append(new)
    remove_unused(model)


BETA1, BETA2 = 0.9, 0.99
"""Of Adam: a training has a few hundred steps, too few for a mean over a thousand of them."""


def _obstacles(model: ir.Model, total: ir.Value, wrt: list[ir.Value]) -> list[ir.Node]:
    """The nodes on the way from the parameters to the loss that have no gradient."""
    copy = model.clone()
    values = values_by_name(copy.graph)
    refused = refusals(copy, [values[name_of(total)]], [values[name_of(value)] for value in wrt])
    names = {node.name for node in refused}
    return [node for node in model.graph if node.name in names]


def _count(output: ir.Value) -> int:
    """The pictures of a batch, which is fixed."""
    count = dims(output)[0]
    assert isinstance(count, int)
    return count
