"""One step of training, and one look at the loss, as ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.graph import name_of, remove_unused, values_by_name
from zqc.autodiff.emitter import Emitter, float_input
from zqc.autodiff.engine import backward, refusals
from zqc.autodiff.optimizer import adam_step
from zqc.autodiff.shapes import infer_shapes
from zqc.detection.losses.agreement_loss import agreement_loss
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.tuning import distillation
from zqc.tuning.trainable import Parameter, Trainable, trainable

MOMENTS = ("first_moment", "second_moment")
"""What Adam remembers of each parameter, behind its name."""

SCALARS = ("weight_step", "bias_step", "second_correction", "floor")
"""What a step needs from the host, see ``zqc.autodiff.optimizer``."""


LOSSES = ("tensors", "detections")
"""The parts of the loss: of the quantized tensors, and of what a detector finds, where it is known
how its outputs are read."""

DETECTIONS = "detection_weight"
"""What the step needs besides where there is the second of them: its weight."""


@dataclass(frozen=True)
class Graphs:
    """The graphs of a training.

    Attributes:
        step: Maps pictures, parameters, their moments and ``SCALARS`` to ``new_`` + each parameter
            and moment, and ``loss``.
        measure: Maps pictures and parameters to each of ``LOSSES`` that there is.
        parameters: The parameters.
    """

    step: ir.Model
    measure: ir.Model
    parameters: tuple[Parameter, ...]


def graphs(
    model: ir.Model,
    quantized: ir.Model,
    bits_of: Mapping[str, int],
    importance: distillation.Importance,
    detector: DetectorLoss | None = None,
    *,
    filtered: bool = True,
) -> Graphs | None:
    """Build the graphs of a training.

    Operators without a gradient, such as TopK, are gone around: what stands before them is trained
    by the tensors before them.

    Args:
        model: The float model, its batch fixed.
        quantized: The canonical quantized model, its batch fixed to the same number.
        bits_of: Bits of the weights of each layer, by its name.
        importance: What counts.
        detector: How the outputs are read; None where that is not known.
        filtered: See ``agreement_loss``.

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
    if detector is not None and not (
        _are_fixed(detector.outputs, students)
        and _are_fixed(detector.outputs, values_by_name(model.graph))
    ):
        detector = None
    read = () if detector is None else detector.outputs
    teachers = distillation.beside(graph, model, [*weights, *read])
    emitter = Emitter(graph)
    parts = {LOSSES[0]: distillation.loss(emitter, students, teachers, weights)}
    around: list[ir.Node] = []
    if detector is not None:
        sides = ({name: each[name] for name in read} for each in (students, teachers))
        student, teacher = (detector.read(emitter, side) for side in sides)
        parts[LOSSES[1]], around = agreement_loss(emitter, student, teacher, filtered=filtered)
    graph.outputs[:] = [emitter.named(part, name) for name, part in parts.items()]
    remove_unused(opened.model)
    parameters = tuple(p for p in opened.parameters if p.value.uses())
    if not parameters:
        return None
    idle = {p.value for p in opened.parameters} - {p.value for p in parameters}
    graph.inputs[:] = [value for value in graph.inputs if value not in idle]
    measure = opened.model.clone()
    _differentiate(opened, parameters, around)
    return Graphs(opened.model, measure, parameters)


def _differentiate(
    opened: Trainable, parameters: tuple[Parameter, ...], around: Sequence[ir.Node]
) -> None:
    """Append gradients and the steps of all parameters."""
    model, graph = opened.model, opened.model.graph
    emitter = Emitter(graph)
    total, *detections = graph.outputs
    for each in detections:
        weight = float_input(DETECTIONS, ())
        graph.inputs.append(weight)
        weighted = emitter.op("Mul", [each, weight], {}, "loss")
        total = emitter.op("Add", [total, weighted], {}, "loss")
    total = emitter.named(total, "loss")
    total.shape = ir.Shape([])
    graph.outputs[:] = [total]
    wrt = [parameter.value for parameter in parameters]
    around = [*around, *_obstacles(model, total, wrt)]
    seed = emitter.array(np.ones((), np.float32), "loss_seed")
    gradients = backward(model, {total: seed}, wrt, around=around)
    scalars = {name: float_input(name, ()) for name in SCALARS}
    graph.inputs.extend(scalars.values())
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
        for old, new in zip([parameter.value, first, second], stepped, strict=True):
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


def _are_fixed(names: Sequence[str], values: Mapping[str, ir.Value]) -> bool:
    """Whether all of some values are there, and their shapes are known numbers."""
    shapes = [values[name].shape if name in values else None for name in names]
    return all(shape is not None and shape.is_static() for shape in shapes)
