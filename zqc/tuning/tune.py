"""Weights and biases, or biases alone, trained all at once against the float model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from zqc.autodiff.shapes import fixed_copy
from zqc.errors import InputShapeError, UnsupportedOperatorError
from zqc.pictures.batches import SENSITIVITY_PICTURES, Batches
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.quantization.prepare import points_of
from zqc.tuning.checkpoint import Checkpoint, key_of
from zqc.tuning.distillation import importance
from zqc.tuning.goals import Goals, reader
from zqc.tuning.objective import USUAL, Objective
from zqc.tuning.step import Graphs, graphs
from zqc.tuning.trainable import with_integers
from zqc.tuning.training import Training

if TYPE_CHECKING:
    from zqc.calibration.squared_gradients import Sensitivity
    from zqc.detection.losses.detector_loss import DetectorLoss
    from zqc.files.store import Store
    from zqc.progress import Progress
    from zqc.recipe.plan import Plan
    from zqc.tuning.schedule import Schedule


@dataclass(frozen=True)
class Tuned:
    """What training ends with.

    Attributes:
        model: The canonical quantized model with other integers.
        error: What is left of the error on the pictures that are held out, 1 where nothing was
            gained; None where nothing could be trained.
        interrupted: Whether Ctrl-C ended the training early.
    """

    model: ir.Model
    error: float | None
    interrupted: bool = False


def counted_tensors(model: ir.Model, plan: Plan) -> list[str]:
    """Names of the tensors whose errors count.

    What is inside of an activation function, selected from or joined of others errs by them.
    """
    return [p.names[0] for p in points_of(model, plan) if not (p.internal or p.joined)]


def tune(
    model: ir.Model,
    quantized: ir.Model,
    bits_of: Mapping[str, int],
    tensors: Sequence[str],
    batches: Batches,
    *,
    schedule: Schedule,
    objective: Objective = USUAL,
    detector: DetectorLoss | None = None,
    known: Mapping[str, Sensitivity] | None = None,
    store: Store | None = None,
    seed: int,
    threads: int | None,
    progress: Progress,
) -> Tuned:
    """Train integers of weights and biases until tensors are like those of the float model.

    Every step runs the float model and the quantized one on the same pictures, mirrored at random;
    synthesised pictures and structured noise in turn, however many there are of each.
    The loss sums up the errors of quantized tensors (``distillation.loss``), so that a layer
    learns to make up for those before it and is told at once what its own errors are; what else it
    has, ``zqc.tuning.objective`` says. Gradients go straight through the roundings; Adam steps
    along a cosine to 0. Scales, zero points and the number of bits stay as they are: the file is as
    large, and as fast.

    What comes out is the best state on the pictures that are held out, which may be the one that
    it begins with. Ctrl-C ends it early. Where there is no way from any weight to a tensor that
    counts, or none that can be differentiated, nothing is trained.

    Args:
        model: The float model that was quantized.
        quantized: The canonical quantized model; it is not changed.
        bits_of: Bits of the weights that are trained, by the name of their layer; none where biases
            are trained alone.
        tensors: Names of the quantized tensors whose errors count; the input's may be among them.
        batches: The calibration set.
        schedule: How long and how fast.
        objective: What the loss is made of.
        detector: How the outputs are read, where that is known: then the errors of what is found
            count as well (``agreement_loss``), and the detector's own loss can, against the labels
            of the pictures or, where these are not known, what the float model is sure of.
        known: Sensitivities of the float model; without any they are measured.
        store: Where it is kept now and then where the training stands, from where one that is cut
            short goes on; None for nowhere.
        seed: Of everything random.
        threads: Threads of ONNX Runtime.
        progress: Gets one step per step, and is told how long all of them will take.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    if not bits_of:
        objective = replace(objective, dampening=0.0)  # there is nothing that could swing
    with progress.stage("Preparing to learn"):
        size = fixed_batch(model) or 1
        try:
            built = training_graphs(
                model,
                quantized,
                bits_of,
                tensors,
                batches,
                size,
                detector,
                objective,
                known=known,
                seed=seed,
                threads=threads,
            )
        except (UnsupportedOperatorError, InputShapeError) as error:
            progress.say(f"Nothing is learned, weights are only rounded: {error}")
            return Tuned(quantized, None)
        if built is None:
            progress.say("Nothing is learned: no integer layer leads to what counts")
            return Tuned(quantized, None)
        pictures, source, key = batches.pictures, input_name(model), ""
        goals = None
        if built.detector is not None and "detection" in built.parts:
            read = reader(fixed_copy(model, size), built.detector)
            goals = Goals(read, built.detector, source, size, pictures.labels, threads)
        training = Training.of(built, pictures, source, size, schedule, objective, goals, threads)
    if store is not None:
        arrays = (pictures.read(i, i + 1)[0] for i in range(len(pictures)))
        key = key_of(built, schedule, objective, size, seed, arrays, pictures.labels)
    ended = training.run(seed, progress, Checkpoint(store, key))
    return Tuned(
        with_integers(quantized, built.parameters, ended.best),
        training.left(ended),
        interrupted=ended.interrupted,
    )


def training_graphs(
    model: ir.Model,
    quantized: ir.Model,
    bits_of: Mapping[str, int],
    tensors: Sequence[str],
    batches: Batches,
    size: int,
    detector: DetectorLoss | None = None,
    objective: Objective = USUAL,
    *,
    known: Mapping[str, Sensitivity] | None = None,
    seed: int,
    threads: int | None,
) -> Graphs | None:
    """The graphs for batches of one size; the arguments are those of ``tune``.

    Raises:
        UnsupportedOperatorError: See ``zqc.autodiff.backward``.
        InputShapeError: Likewise.
    """
    counted = [name for name in tensors if name != input_name(model)]
    layers = [name_of(node.outputs[0]) for node in weighted_layers(model.graph)]
    seen = batches.first(SENSITIVITY_PICTURES)
    counts = importance(
        model,
        counted,
        layers,
        seen,
        known=known,
        fisher=objective.fisher,
        seed=seed,
        threads=threads,
    )
    return graphs(
        fixed_copy(model, size),
        fixed_copy(quantized, size),
        bits_of,
        counts,
        detector,
        objective,
    )
