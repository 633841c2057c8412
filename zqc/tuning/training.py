"""The loop of training: steps on pictures, looks at those that are held out, the best state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from passes.graph import name_of
from zqc.progress import estimate
from zqc.runtime import session
from zqc.tuning.checkpoint import Arrays, Checkpoint, Standing
from zqc.tuning.step import DETECTIONS, MOMENTS, Graphs
from zqc.tuning.trainable import Parameter

if TYPE_CHECKING:
    from zqc.pictures.images import ImageSet
    from zqc.progress import Progress
    from zqc.tuning.schedule import Schedule

_HELD_OUT = 8
"""One picture of each kind in so many is not trained on: by those the best state is chosen."""

_MOST_HELD_OUT = 32
"""Pictures of a kind that are held out at most."""

_LOOKS = 8
"""How often the loss on the pictures that are held out is measured on the way."""

State = dict[str, session.DeviceArray]
Pictures = NDArray[np.float32]


def first_state(parameters: Sequence[Parameter]) -> Arrays:
    """The parameters and their moments before the first step, by name."""
    arrays: Arrays = {}
    for parameter in parameters:
        name = name_of(parameter.value)
        arrays[name] = parameter.start
        arrays |= {f"{name}_{moment}": np.zeros_like(parameter.start) for moment in MOMENTS}
    return arrays


@dataclass(frozen=True)
class Training:
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
    ) -> Training:
        """Load the graphs.

        Args:
            built: The graphs, for batches of ``size``.
            pictures: The calibration set.
            source: Name of the input.
            size: Pictures of a step.
            schedule: How long and how fast.
            threads: Threads of ONNX Runtime.
        """
        stepper, meter = (session.load(m, threads=threads) for m in (built.step, built.measure))
        return cls(built, stepper, meter, pictures, source, size, schedule)

    def run(
        self, detections: float, seed: int, progress: Progress, kept: Checkpoint
    ) -> tuple[Arrays, float]:
        """Train, from where an earlier training stopped; Ctrl-C ends it early.

        Args:
            detections: What the errors of detections count at the beginning, beside those of the
                tensors.
            seed: Of the order of the pictures, and of which are mirrored.
            progress: Gets one step per step.
            kept: Where it is kept now and then how far the training is.

        Returns:
            The best parameters by name, and what is left of the error with them.
        """
        kinds = _kinds(self.pictures)
        steps = self.schedule.steps(self.size)
        look = max(1, steps // _LOOKS)
        standing = kept.read()
        if standing is None:
            standing = self._begun(detections, kinds)
        else:
            done = f"{standing.step} of {steps} steps are done"
            progress.say(f"Going on where learning stopped earlier: {done}")
        state = {name: session.to_device(array) for name, array in standing.state.items()}
        drawn = self._drawn(kinds, np.random.default_rng(seed))
        batches = islice(enumerate(drawn), standing.step, steps)
        began = time.monotonic()
        with progress.task("Learning", steps) as task:
            task.advance(steps=standing.step)
            try:
                for step, (indices, mirrored) in batches:
                    batch = self._batch(indices, mirrored)
                    state = self._stepped(state, batch, step, standing.weight)
                    if step == 0:
                        rest = (time.monotonic() - began) * (steps - 1)
                        estimate(progress, rest, f"{steps} steps of learning")
                    if (step + 1) % look == 0 or step + 1 == steps:
                        standing = self._looked(standing, step + 1, state, kinds)
                        if step + 1 < steps:
                            kept.write(standing)
                    task.advance(note=f"error {standing.least / standing.first:.0%}")
                kept.remove()
            except KeyboardInterrupt:
                on = "; the same command goes on" if standing.step and kept.write(standing) else ""
                progress.say(f"Learning is interrupted: the best so far is kept{on}")
        return standing.best, standing.least / standing.first

    def _begun(self, detections: float, kinds: Sequence[_Kind]) -> Standing:
        """Where it stands before the first step."""
        state = first_state(self.graphs.parameters)
        best = self._parameters(state)
        parts = self._measured(best, kinds)
        weight = detections * parts[0] / parts[1] if parts[1:] > [0.0] else 0.0
        first = _total(parts, weight) or 1.0
        return Standing(0, state, best, first, first, weight)

    def _looked(
        self, before: Standing, step: int, state: State, kinds: Sequence[_Kind]
    ) -> Standing:
        """Where it stands after a step."""
        arrays = {name: value.numpy() for name, value in state.items()}
        now = self._parameters(arrays)
        loss = _total(self._measured(now, kinds), before.weight)
        found = replace(before, step=step, state=arrays)
        return replace(found, best=now, least=loss) if loss < before.least else found

    def _parameters(self, state: Arrays) -> Arrays:
        names = [name_of(parameter.value) for parameter in self.graphs.parameters]
        return {name: state[name] for name in names}

    def _stepped(self, state: State, batch: Pictures, step: int, weight: float) -> State:
        numbers = self.schedule.scalars(step, self.size)
        if len(self.meter.outputs) > 1:
            numbers[DETECTIONS] = weight
        feeds = {name: np.array(number, np.float32) for name, number in numbers.items()}
        new = [f"new_{name}" for name in state]
        found, _ = self.stepper.keeping(state, {self.source: batch, **feeds}, new)
        return dict(zip(state, found.values(), strict=True))

    def _drawn(
        self, kinds: Sequence[_Kind], generator: np.random.Generator
    ) -> Iterator[tuple[list[int], NDArray[np.bool_]]]:
        """Without an end: the pictures of a step, and which of them are mirrored."""
        drawn = _in_turn([kind.trained for kind in kinds], generator)
        while True:
            indices = list(islice(drawn, self.size))
            yield indices, generator.random(len(indices)) < 0.5

    def _batch(self, indices: Sequence[int], mirrored: NDArray[np.bool_]) -> Pictures:
        found = [self._read(index) for index in indices]
        turned = [p[..., ::-1] if m else p for p, m in zip(found, mirrored, strict=True)]
        return np.ascontiguousarray(np.concatenate(turned))

    def _read(self, index: int) -> Pictures:
        return self.pictures.read(index, index + 1)[0]

    def _measured(self, parameters: Arrays, kinds: Sequence[_Kind]) -> list[float]:
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


def _in_turn(kinds: Sequence[NDArray[np.int64]], generator: np.random.Generator) -> Iterator[int]:
    """Pictures of all kinds in turn without an end, those of a kind in ever new orders."""
    waiting: list[list[int]] = [[] for _ in kinds]
    while True:
        for kind, queue in zip(kinds, waiting, strict=True):
            if not queue:
                queue.extend(generator.permutation(kind).tolist())
            yield queue.pop()
