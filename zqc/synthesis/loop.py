"""The loop around the step graph: all pictures against the pooled statistics."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.loss import goals
from zqc.pictures.input_format import InputFormat
from zqc.pictures.structured_noise import structured_noise
from zqc.runtime import session
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis import rates
from zqc.synthesis.augmentation import central_places, random_places
from zqc.synthesis.labels import Labels, first_objects
from zqc.synthesis.matching import Targets, Vector
from zqc.synthesis.objective import (
    MOMENTS,
    STATE,
    Objective,
    measure_model,
    slope_scale,
    step_model,
)
from zqc.synthesis.state import State

_WAVE = 4
"""Batches that step from the same pooled moments, on as many threads as there are. It does not
depend on the threads, so that they change no byte of the result."""

_PIXELS, _PLACES, _ORDER, _LABELS = range(4)
"""Streams of random numbers that come from one seed."""


_FITS = 30
"""Labels are fitted once in so many parts of the steps for it."""

Start = Literal["structured", "gaussian"]
Batch = dict[str, session.DeviceArray]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast the pictures are optimised.

    Attributes:
        samples: Number of pictures.
        steps: Steps of each picture.
        batch: Pictures in one graph. Small ones stay in the cache of a core.
        rate: First step size in units of the pixel range.
        optimizer: Adam, or RAdam as published.
        decay: Whether the rate falls to 0 along a cosine, or is halved on plateaus as published.
        seed: Seed of the first pixels, the windows and the order.
        start: Whether the first pictures are structured noise (see ``structured_noise``) or
            Gaussian noise around grey, which needs a rate of 0.1 and far more steps.
        joint: Whether moments are pooled over the whole set, or over each batch alone.
        refresh: Whether the moments of a batch are measured again after its step.
        sampling: Steps before all these, in which the labels of a detector's loss are fitted to
            what it finds. Then the pictures begin anew, with these labels.
    """

    samples: int
    steps: int
    batch: int = 2
    rate: float = 0.005
    optimizer: rates.Optimizer = "adam"
    decay: rates.Decay = "cosine"
    seed: int = 0
    start: Start = "structured"
    joint: bool = True
    refresh: bool = True
    sampling: int = 0

    @property
    def passes(self) -> int:
        """Steps of each picture, those with which labels are sampled too."""
        return self.sampling + self.steps

    def stage(self, done: int) -> tuple[int, int]:
        """Of what is in hand after so many passes: the passes that are done, and all of them."""
        if done < self.sampling:
            return done, self.sampling
        return done - self.sampling, self.steps

    def samples_labels(self, done: int) -> bool:
        """Whether labels are fitted after so many passes: from a third of the sampling on."""
        every = max(1, self.sampling // _FITS)
        return self.sampling // 3 <= done < self.sampling and done % every == 0

    @property
    def sizes(self) -> list[int]:
        """Sizes of the batches, as even as possible."""
        batches = -(-self.samples // self.batch)
        return [len(part) for part in np.array_split(np.arange(self.samples), batches)]


@dataclass(frozen=True)
class LayerGap:
    """How far the pictures are from what a layer saw in training.

    Attributes:
        layer: Name of the layer's output.
        mean: Root mean square over the channels of the mean's deviation, in units.
        deviation: The same of the standard deviation.
    """

    layer: str
    mean: float
    deviation: float


@dataclass(frozen=True)
class Loop:
    """What stays the same from step to step: the graphs, by batch size, and the options."""

    schedule: Schedule
    objective: Objective
    targets: Targets
    layers: tuple[str, ...]
    picture: tuple[int, int, int]
    steppers: dict[int, session.Runner]
    meters: dict[int, session.Runner]
    workers: int
    detector: DetectorLoss | None = None

    @classmethod
    def of(
        cls,
        model: ir.Model,
        layers: Sequence[LayerStatistics],
        picture: tuple[int, int, int],
        input_format: InputFormat,
        schedule: Schedule,
        objective: Objective,
        threads: int | None,
        detector: DetectorLoss | None = None,
    ) -> Loop:
        """Build and load the graphs. Batches run side by side, each of them on one thread."""
        workers = threads or os.cpu_count() or 1
        inside = 1 if len(schedule.sizes) > 1 else workers
        steppers, meters = {}, {}
        for size in set(schedule.sizes):
            shape = (size, *picture)
            step = step_model(
                model,
                layers,
                shape=shape,
                pictures=schedule.samples if schedule.joint else size,
                input_format=input_format,
                objective=objective,
                detector=detector,
            )
            measure = measure_model(
                model,
                layers,
                shape=shape,
                pictures=schedule.samples,
                input_format=input_format,
                objective=objective,
                detector=detector,
            )
            steppers[size] = session.load(step, threads=inside)
            meters[size] = session.load(measure, threads=inside)
        targets = Targets.of(layers, objective.terms, objective.deviation_weight)
        names = tuple(layer.output for layer in layers)
        return cls(
            schedule, objective, targets, names, picture, steppers, meters, workers, detector
        )

    def start(self) -> State:
        """The first pictures, and what they are like."""
        canvas = self.objective.canvas((1, *self.picture))[1:]
        pixels = first_pictures(self.schedule, canvas)
        state = State.start(pixels, self.schedule.sizes, len(self.targets.mean))
        if self.detector is not None:
            state.labels = self._first_labels(self.detector)
        self._begin(state)
        return state

    def measure(self, state: State) -> Iterator[NDArray[np.float32]]:
        """Measure the moments of all finished pictures; yields them, (N, C, H, W), by batches."""
        with ThreadPoolExecutor(self.workers) as pool:
            pictures = (batch["pictures"] for batch in state.batches)
            for index, (tensors, moments) in enumerate(pool.map(self._measured, pictures)):
                state.contribute(index, moments)
                if self.detector is not None:
                    objects = state.labels[index].objects
                    state.labels[index] = Labels.of(self.detector, objects, moments)
                yield tensors.numpy()

    def advance(self, state: State) -> bool:
        """Let every picture make one step; False, with nothing changed, if a loss is not finite."""
        self._begin_anew(state)
        order = self._generator(_ORDER, state.iteration).permutation(len(state.batches))
        iteration = state.iteration
        with ThreadPoolExecutor(self.workers) as pool:
            while state.iteration == iteration:
                wave = order[state.position : state.position + _WAVE]
                stepped = list(pool.map(partial(self._stepped, state, state.pooled()), wave))
                if not all(_finite(outputs) for _, outputs in stepped):
                    return False
                # Ctrl-C reaches the main thread alone: on another one it cannot split this.
                pool.submit(self._store, state, wave, stepped).result()
        return True

    def gaps(self, state: State) -> tuple[LayerGap, ...]:
        """What is left, layer by layer."""
        residuals = self.targets.residuals(*state.pooled())
        return tuple(
            LayerGap(name, *(float(np.sqrt(np.mean(r[place] ** 2))) for r in residuals))
            for name, place in zip(self.layers, self.targets.places, strict=True)
        )

    def _store(
        self, state: State, wave: NDArray[np.int64], stepped: Sequence[tuple[Batch, Arrays]]
    ) -> None:
        for index, (batch, outputs) in zip(wave, stepped, strict=True):
            state.step(index, batch)
            state.contribute(index, outputs)
            if self.detector is not None:
                adapt = self.schedule.samples_labels(state.iteration + 1)
                objects = state.labels[index].objects
                state.labels[index] = Labels.of(self.detector, objects, outputs, adapt=adapt)
        state.position += len(wave)
        if state.position == len(state.batches):
            state.iteration, state.position = state.iteration + 1, 0
            state.losses.append(self.targets.loss(*state.pooled()))

    def _stepped(
        self, state: State, pooled: tuple[Vector, Vector], index: int
    ) -> tuple[Batch, Arrays]:
        """One step of one batch, from the state and without changing it."""
        size, joint = self.schedule.sizes[index], self.schedule.joint
        generator = self._generator(_PLACES, state.iteration, index)
        feeds: Arrays = {}
        for name, total in zip(MOMENTS, pooled, strict=True):
            with np.errstate(invalid="ignore"):  # what is not finite is found after the step
                others = total - state.moments[name][index] if joint else np.zeros_like(total)
            feeds[f"other_{name}"] = others.astype(np.float32)
        feeds |= random_places(
            generator, size, self.picture[1:], self.objective.margin, flip=self.objective.flip
        )
        feeds |= self._scalars(state)
        if state.labels:
            labels = state.labels[index]
            feeds |= goals(labels.objects, labels.assigned)
        new = [f"new_{name}" for name in STATE]
        kept, outputs = self.steppers[size].keeping(state.batches[index], feeds, new)
        batch = dict(zip(STATE, kept.values(), strict=True))
        if self.schedule.refresh or self.detector is not None:
            outputs |= self._measured(batch["pictures"])[1]
        elif not joint:  # the step knows of no other pictures than its own
            outputs |= {n: outputs[n].astype(float) * size / self.schedule.samples for n in MOMENTS}
        return batch, outputs

    def _measured(self, pictures: session.DeviceArray) -> tuple[session.DeviceArray, Arrays]:
        """The finished pictures of a batch and what they contribute."""
        size = pictures.shape()[0]
        feeds = central_places(size, self.picture[1:], self.objective.margin)
        kept, moments = self.meters[size].keeping({"pictures": pictures}, feeds, ["tensors"])
        return kept["tensors"], moments

    def _scalars(self, state: State) -> Arrays:
        """What the optimiser needs from the host."""
        schedule = self.schedule
        done, steps = schedule.stage(state.iteration)
        if schedule.decay == "cosine":
            rate = rates.cosine(schedule.rate, steps, done)
        else:
            rate = rates.reduced_on_plateaus(schedule.rate, steps, state.losses[1:])
        scale = slope_scale(schedule.samples, self.picture)
        return rates.scalars(schedule.optimizer, rate, done, scale)

    def _first_labels(self, detector: DetectorLoss) -> list[Labels]:
        """Labels at random, no candidate assigned to them yet."""
        generator = self._generator(_LABELS)
        drawn = first_objects(generator, self.schedule.samples, detector.classes, detector.size)
        ends = np.cumsum([0, *self.schedule.sizes])
        return [Labels(drawn[a:b], ()) for a, b in pairwise(ends)]

    def _begin_anew(self, state: State) -> None:
        """Take other pictures where the labels are sampled and no picture is made with them yet.

        There is one loss then, that of the pictures which it begins with; fewer where Ctrl-C came
        in between.
        """
        at_end = (state.iteration, state.position) == (self.schedule.sampling, 0)
        if at_end and len(state.losses) != 1:
            canvas = self.objective.canvas((1, *self.picture))[1:]
            state.anew(first_pictures(self.schedule, canvas), self.schedule.sizes)
            self._begin(state)

    def _begin(self, state: State) -> None:
        """Measure the first pictures."""
        for _ in self.measure(state):
            pass
        state.losses.append(self.targets.loss(*state.pooled()))

    def _generator(self, *stream: int) -> np.random.Generator:
        """Random numbers that depend on nothing but the seed and what they are for."""
        return np.random.default_rng([self.schedule.seed, *stream])


def _finite(outputs: Arrays) -> bool:
    """Whether a step went well: its loss, and what the pictures after it are like."""
    return all(np.isfinite(outputs[name]).all() for name in (*MOMENTS, "loss"))


def first_pictures(schedule: Schedule, canvas: tuple[int, int, int]) -> NDArray[np.float32]:
    """What the synthesis starts from, (N, C, H, W) in [0, 1]."""
    if schedule.start == "structured":
        return structured_noise(schedule.samples, canvas, schedule.seed)
    generator = np.random.default_rng([schedule.seed, _PIXELS])
    shape = (schedule.samples, *canvas)
    return np.clip(generator.normal(0.5, 0.25, shape), 0, 1).astype(np.float32)
