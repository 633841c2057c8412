"""Learned rounding: all weights and biases trained at once against the float model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.graph import name_of
from passes.lower.fixed_batch import FixedBatch
from zqc.autodiff.shapes import infer_shapes
from zqc.errors import InputShapeError, UnsupportedOperatorError
from zqc.pictures.batches import SENSITIVITY_PICTURES, Batches
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.progress import estimate
from zqc.quantization.prepare import points_of
from zqc.runtime import session
from zqc.synthesis.rates import cosine
from zqc.tuning.distillation import USUAL, Objective, importance
from zqc.tuning.step import BETA1, BETA2, DETECTIONS, MOMENTS, Graphs, graphs
from zqc.tuning.trainable import Parameter, with_integers

if TYPE_CHECKING:
    from zqc.calibration.sensitivity import Sensitivity
    from zqc.detection.losses.detector_loss import DetectorLoss
    from zqc.pictures.images import ImageSet
    from zqc.progress import Progress
    from zqc.recipe.plan import Plan
    from zqc.recipe.recipe import Effort

_HELD_OUT = 8
"""One picture of each kind in so many is not trained on: by those the best state is chosen."""

_MOST_HELD_OUT = 32
"""Pictures of a kind that are held out at most."""

_LOOKS = 8
"""How often the loss on the pictures that are held out is measured on the way."""

_WARM_UP = 10
"""Steps in which the rates rise to what they are."""

_LEAST = 1e-12
"""What keeps Adam's quotient finite; gradients are of any size."""

_EFFORTS: Mapping[Effort, tuple[int, int, float]] = {
    "quick": (100, 300, 1.1e7),
    "standard": (300, 1200, 4.4e7),
    "thorough": (1200, 4800, 1.8e8),
}
"""The fewest and the most pictures that are looked at, and the pixels of all of them."""

_RATE = 0.2
"""Of the weights, times the root of the steps: how far a weight strays that is drawn nowhere."""

State = dict[str, session.DeviceArray]
Pictures = NDArray[np.float32]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        pictures: Pictures that are looked at, each as often as it takes.
        weight_rate: First step size of the weights, in their steps, for one picture at a time.
            For a model that takes N at once it is √N times as large.
        bias_rate: The same of the biases, in standard deviations of what the layer puts out.
    """

    pictures: int = 1200
    weight_rate: float = 0.006
    bias_rate: float = 0.002

    @classmethod
    def of(cls, effort: Effort, pixels: int) -> Schedule:
        """By effort, for pictures of so many pixels."""
        least, most, budget = _EFFORTS[effort]
        pictures = min(max(least, round(budget / pixels)), most)
        return cls(pictures, _RATE / math.sqrt(pictures))


@dataclass(frozen=True)
class Tuned:
    """What training ends with.

    Attributes:
        model: The canonical quantized model with other integers.
        error: What is left of the error on the pictures that are held out, 1 where nothing was
            gained; None where nothing could be trained.
    """

    model: ir.Model
    error: float | None


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
    seed: int,
    threads: int | None,
    progress: Progress,
) -> Tuned:
    """Train the integers of weights and biases until tensors are like those of the float model.

    Every step runs the float model and the quantized one on the same pictures, mirrored at random;
    synthesised pictures and structured noise in turn, however many there are of each.
    The loss sums up the errors of quantized tensors (``distillation.loss``), so that a layer
    learns to make up for those before it and is told at once what its own errors are. Gradients go
    straight through the roundings; Adam steps along a cosine to 0. Scales, zero points and the
    number of bits stay as they are: the file is as large, and as fast.

    What comes out is the best state on the pictures that are held out, which may be the one that
    it begins with. Ctrl-C ends it early. Where there is no way from any weight to a tensor that
    counts, or none that can be differentiated, nothing is trained.

    Args:
        model: The float model that was quantized.
        quantized: The canonical quantized model; it is not changed.
        bits_of: Bits of the weights of each layer, by its name.
        tensors: Names of the quantized tensors whose errors count; the input's may be among them.
        batches: The calibration set.
        schedule: How long and how fast.
        objective: What the loss is made of.
        detector: How the outputs are read, where that is known: then the errors of what is found
            count as well (``agreement_loss``).
        known: Sensitivities of the float model; without any they are measured.
        seed: Of everything random.
        threads: Threads of ONNX Runtime.
        progress: Gets one step per step, and is told how long all of them will take.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
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
                detector if objective.detections > 0 else None,
                objective,
                known=known,
                seed=seed,
                threads=threads,
            )
        except (UnsupportedOperatorError, InputShapeError) as error:
            progress.say(f"Weights are not learned, only rounded: {error}")
            built = None
    if built is None:
        return Tuned(quantized, None)
    training = _Training.of(built, batches.pictures, input_name(model), size, schedule, threads)
    best, left = training.run(objective.detections, np.random.default_rng(seed), progress)
    return Tuned(with_integers(quantized, built.parameters, best), left)


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
        _fixed(model, size),
        _fixed(quantized, size),
        bits_of,
        counts,
        detector,
        filtered=objective.filtered,
    )


def first_state(parameters: Sequence[Parameter]) -> State:
    """The parameters and their moments before the first step, by name."""
    arrays = {}
    for parameter in parameters:
        name = name_of(parameter.value)
        arrays[name] = parameter.start
        arrays |= {f"{name}_{moment}": np.zeros_like(parameter.start) for moment in MOMENTS}
    return {name: session.to_device(array) for name, array in arrays.items()}


def _fixed(model: ir.Model, size: int) -> ir.Model:
    """A copy for batches of one size, its shapes inferred."""
    copy = model.clone()
    FixedBatch(size)(copy)
    infer_shapes(copy)
    return copy


@dataclass(frozen=True)
class _Training:
    """The loaded graphs, and what they are fed with."""

    graphs: Graphs
    stepper: session.Runner
    meter: session.Runner
    pictures: ImageSet
    source: str
    size: int
    schedule: Schedule

    @classmethod
    def of(
        cls,
        built: Graphs,
        pictures: ImageSet,
        source: str,
        size: int,
        schedule: Schedule,
        threads: int | None,
    ) -> _Training:
        stepper, meter = (session.load(m, threads=threads) for m in (built.step, built.measure))
        return cls(built, stepper, meter, pictures, source, size, schedule)

    @property
    def steps(self) -> int:
        return max(1, self.schedule.pictures // self.size)

    def run(
        self, detections: float, generator: np.random.Generator, progress: Progress
    ) -> tuple[dict[str, NDArray[np.float32]], float]:
        """Train; return the best parameters by name, and what is left of the error with them."""
        kinds = _kinds(self.pictures)
        drawn = _drawn([kind.trained for kind in kinds], generator)
        state = first_state(self.graphs.parameters)
        best = self._parameters(state)
        parts = self._measured(best, kinds)
        weight = detections * parts[0] / parts[1] if parts[1:] > [0.0] else 0.0
        first = least = _total(parts, weight) or 1.0
        began = time.monotonic()
        with progress.task("Learning", self.steps) as task:
            try:
                for step in range(self.steps):
                    batch = self._batch(list(islice(drawn, self.size)), generator)
                    state = self._stepped(state, batch, step, weight)
                    if step == 0:
                        rest = (time.monotonic() - began) * (self.steps - 1)
                        estimate(progress, rest, f"{self.steps} steps of learning")
                    if (step + 1) % max(1, self.steps // _LOOKS) == 0 or step + 1 == self.steps:
                        now = self._parameters(state)
                        loss = _total(self._measured(now, kinds), weight)
                        if loss < least:
                            best, least = now, loss
                    task.advance(note=f"error {least / first:.0%}")
            except KeyboardInterrupt:
                progress.say("Learning is interrupted: the best so far is kept")
        return best, least / first

    def _parameters(self, state: State) -> dict[str, NDArray[np.float32]]:
        names = [name_of(parameter.value) for parameter in self.graphs.parameters]
        return {name: state[name].numpy() for name in names}

    def _stepped(self, state: State, batch: Pictures, step: int, weight: float) -> State:
        rise = cosine(min(1.0, (step + 1) / _WARM_UP), self.steps, step)
        rise *= math.sqrt(self.size) / (1 - BETA1 ** (step + 1))
        numbers = {
            "weight_step": self.schedule.weight_rate * rise,
            "bias_step": self.schedule.bias_rate * rise,
            "second_correction": 1 / (1 - BETA2 ** (step + 1)),
            "floor": _LEAST,
        }
        if len(self.meter.outputs) > 1:
            numbers[DETECTIONS] = weight
        feeds = {name: np.array(number, np.float32) for name, number in numbers.items()}
        new = [f"new_{name}" for name in state]
        kept, _ = self.stepper.keeping(state, {self.source: batch, **feeds}, new)
        return dict(zip(state, kept.values(), strict=True))

    def _batch(self, indices: Sequence[int], generator: np.random.Generator) -> Pictures:
        """Pictures, each mirrored or not."""
        mirrored = generator.random(len(indices)) < 0.5
        found = [self._read(index) for index in indices]
        turned = [p[..., ::-1] if m else p for p, m in zip(found, mirrored, strict=True)]
        return np.ascontiguousarray(np.concatenate(turned))

    def _read(self, index: int) -> Pictures:
        return self.pictures.read(index, index + 1)[0]

    def _measured(
        self, parameters: Mapping[str, NDArray[np.float32]], kinds: Sequence[_Kind]
    ) -> list[float]:
        """The mean of each part of the loss over the pictures that are held out.

        Each kind counts the same.
        """
        total = np.zeros(len(self.meter.outputs))
        for kind in kinds:
            count = -(-len(kind.held_out) // self.size)
            for taken in np.resize(kind.held_out, (count, self.size)):
                batch = np.concatenate([self._read(index) for index in taken])
                parts = self.meter({self.source: batch, **parameters})
                total += np.array([float(part) for part in parts.values()]) / count
        return list(total / len(kinds))


def _total(parts: Sequence[float], weight: float) -> float:
    """The loss of its parts: of tensors and, with a weight, of detections."""
    tensors, *detections = parts
    return tensors + weight * sum(detections)


@dataclass(frozen=True)
class _Kind:
    """Places of the pictures of one kind in the calibration set."""

    trained: NDArray[np.int64]
    held_out: NDArray[np.int64]


def _kinds(pictures: ImageSet) -> list[_Kind]:
    """Hold some pictures of each kind out; a single one has to be both."""
    found, start = [], 0
    for kind in pictures.kinds:
        every = np.arange(start, start + len(kind))
        start += len(kind)
        stride = max(_HELD_OUT, -(-len(every) // _MOST_HELD_OUT))
        held = every % stride == every[-1] % stride
        found.append(_Kind(every[~held] if len(every) > 1 else every, every[held]))
    return found


def _drawn(kinds: Sequence[NDArray[np.int64]], generator: np.random.Generator) -> Iterator[int]:
    """Pictures of all kinds in turn without an end, those of a kind in ever new orders."""
    waiting: list[list[int]] = [[] for _ in kinds]
    while True:
        for kind, queue in zip(kinds, waiting, strict=True):
            if not queue:
                queue.extend(generator.permutation(kind).tolist())
            yield queue.pop()
