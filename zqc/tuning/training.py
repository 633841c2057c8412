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
from zqc.tuning.objective import Objective, total
from zqc.tuning.oscillation import dampening_share
from zqc.tuning.schedule import average_step
from zqc.tuning.step import AVERAGE, AVERAGE_STEP, DAMPENING, MOMENTS, Graphs, weight_name
from zqc.tuning.trainable import Parameter

if TYPE_CHECKING:
    from zqc.pictures.images import ImageSet
    from zqc.progress import Progress
    from zqc.tuning.goals import Goals
    from zqc.tuning.schedule import Schedule

_HELD_OUT = 8
"""One picture of each kind in so many is not trained on: by those the best state is chosen."""

_MOST_HELD_OUT = 32
"""Pictures of a kind that are held out at most."""

_TIMED = 3
"""Steps by which it is estimated how long all of them take."""

_LOOKS = 8
"""How often the loss on the pictures that are held out is measured on the way."""

State = dict[str, session.DeviceArray]
Feeds = dict[str, NDArray[np.generic]]
Pictures = NDArray[np.float32]


def first_state(parameters: Sequence[Parameter], *, average: bool = False) -> Arrays:
    """The parameters, their moments and, if asked for, averages before the first step, by name."""
    arrays: Arrays = {}
    for parameter in parameters:
        name = name_of(parameter.value)
        arrays[name] = parameter.start
        if average:
            arrays[f"{name}_{AVERAGE}"] = parameter.start
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
    objective: Objective
    goals: Goals | None = None

    @classmethod
    def of(
        cls,
        built: Graphs,
        pictures: ImageSet,
        source: str,
        size: int,
        schedule: Schedule,
        objective: Objective,
        goals: Goals | None,
        threads: int | None,
    ) -> Training:
        """Load the graphs.

        Args:
            built: The graphs, for batches of ``size``.
            pictures: The calibration set.
            source: Name of the input.
            size: Pictures of a step.
            schedule: How long and how fast.
            objective: What the parts of the loss count.
            goals: What candidates are to predict; None where the detector's own loss is no part.
            threads: Threads of ONNX Runtime.
        """
        stepper, meter = (session.load(m, threads=threads) for m in (built.step, built.measure))
        return cls(built, stepper, meter, pictures, source, size, schedule, objective, goals)

    def run(self, seed: int, progress: Progress, kept: Checkpoint) -> Standing:
        """Train, from where an earlier training stopped; Ctrl-C ends it early.

        Args:
            seed: Of the order of the pictures, and of which are mirrored.
            progress: Gets one step per step.
            kept: Where it is kept now and then how far the training is.

        Returns:
            Where it stands at the end, with the best parameters.
        """
        kinds = _kinds(self.pictures)
        if any(len(kind) == 1 for kind in self.pictures.kinds):
            progress.say(
                "One picture alone is learned from and judged by: give more to hold some out"
            )
        steps = self.schedule.steps(self.size)
        look = max(1, steps // _LOOKS)
        standing = kept.read()
        if standing is None:
            standing = self._begun(kinds)
            for part, before in zip(self.graphs.parts, standing.first, strict=True):
                if before == 0:
                    progress.say(
                        f"The {part} loss counts nothing: the float model finds nothing in the "
                        "pictures that are held out, so that it is 0 there"
                    )
        else:
            done = f"{standing.step} of {steps} steps are done"
            progress.say(f"Going on where learning stopped earlier: {done}")
        state = {name: session.to_device(array) for name, array in standing.state.items()}
        drawn = self._drawn(kinds, np.random.default_rng(seed))
        first = standing.step
        batches = islice(enumerate(drawn), first, steps)
        with progress.task("Learning", steps) as task:
            task.advance(steps=first)
            try:
                for step, (indices, mirrored) in batches:
                    feeds = self._feeds(indices, mirrored)
                    state = self._stepped(state, feeds, step, standing.first)
                    if step == first:
                        began = time.monotonic()  # the first step prepares for the others
                    elif step == first + _TIMED:
                        rest = (time.monotonic() - began) / _TIMED * (steps - 1 - step)
                        estimate(progress, rest, f"{steps - first} steps of learning")
                    if (step + 1) % look == 0 or step + 1 == steps:
                        standing = self._looked(standing, step + 1, state, kinds)
                        if step + 1 < steps:
                            kept.write(standing)
                    task.advance(note=self._told(standing))
                kept.remove()
            except KeyboardInterrupt:
                on = "; the same command goes on" if standing.step and kept.write(standing) else ""
                progress.say(f"Learning is interrupted: the best so far is kept{on}")
                return replace(standing, interrupted=True)
        return standing

    def left(self, standing: Standing) -> float:
        """What the best parameters leave of the loss that it began with."""
        first = self._loss(standing.first, standing.first)
        return self._loss(standing.least, standing.first) / first if first else 1.0

    def _told(self, standing: Standing) -> str:
        """The loss and its parts, as shares of what they began with."""
        shares = [
            f"{part} {now / before:.0%}"
            for part, now, before in zip(
                self.graphs.parts, standing.least, standing.first, strict=True
            )
            if before > 0
        ]
        parts = f" ({', '.join(shares)})" if len(shares) > 1 else ""
        return f"error {self.left(standing):.0%}{parts}"

    def _loss(self, parts: Sequence[float], first: Sequence[float]) -> float:
        """The loss of its parts, from what they began with."""
        return total(parts, self.objective.weights(self.graphs.parts, first))

    def _begun(self, kinds: Sequence[_Kind]) -> Standing:
        """Where it stands before the first step."""
        state = first_state(self.graphs.parameters, average=self.objective.average)
        best = self._parameters(state)
        parts = self._measured(best, kinds)
        return Standing(0, state, best, parts, parts)

    def _looked(
        self, before: Standing, step: int, state: State, kinds: Sequence[_Kind]
    ) -> Standing:
        """Where it stands after a step."""
        arrays = {name: value.numpy() for name, value in state.items()}
        found = replace(before, step=step, state=arrays)
        for behind in ("", f"_{AVERAGE}") if self.objective.average else ("",):
            now = self._parameters(arrays, behind)
            parts = self._measured(now, kinds)
            if self._loss(parts, found.first) < self._loss(found.least, found.first):
                found = replace(found, best=now, least=parts)
        return found

    def _parameters(self, state: Arrays, behind: str = "") -> Arrays:
        """The parameters, or what is kept of them under a name that goes on so."""
        names = [name_of(parameter.value) for parameter in self.graphs.parameters]
        return {name: state[f"{name}{behind}"] for name in names}

    def _stepped(self, state: State, feeds: Feeds, step: int, first: Sequence[float]) -> State:
        numbers = self.schedule.scalars(step, self.size)
        parts = self.graphs.parts
        weights = self.objective.weights(parts, first)
        numbers |= {weight_name(p): weight for p, weight in zip(parts, weights, strict=True)}
        if self.objective.average:
            numbers[AVERAGE_STEP] = average_step(step)
        if self.objective.dampening > 0:
            share = dampening_share(step, self.schedule.steps(self.size))
            numbers[DAMPENING] = self.objective.dampening * share * first[0]
        scalars = {name: np.array(number, np.float32) for name, number in numbers.items()}
        new = [f"new_{name}" for name in state]
        found, _ = self.stepper.keeping(state, {**feeds, **scalars}, new)
        return dict(zip(state, found.values(), strict=True))

    def _drawn(
        self, kinds: Sequence[_Kind], generator: np.random.Generator
    ) -> Iterator[tuple[list[int], NDArray[np.bool_]]]:
        """Without an end: the pictures of a step, and which of them are mirrored."""
        drawn = _in_turn([kind.trained for kind in kinds], generator)
        while True:
            indices = list(islice(drawn, self.size))
            yield indices, generator.random(len(indices)) < 0.5

    def _feeds(self, indices: Sequence[int], mirrored: NDArray[np.bool_]) -> Feeds:
        """Pictures, mirrored or not, and what their candidates are to predict."""
        found = [self._read(index) for index in indices]
        turned = [p[..., ::-1] if m else p for p, m in zip(found, mirrored, strict=True)]
        batch = np.ascontiguousarray(np.concatenate(turned))
        if self.goals is None:
            return {self.source: batch}
        pictures = zip(indices, mirrored.tolist(), strict=True)
        return {self.source: batch, **self.goals(pictures, batch)}

    def _read(self, index: int) -> Pictures:
        return self.pictures.read(index, index + 1)[0]

    def _measured(self, parameters: Arrays, kinds: Sequence[_Kind]) -> tuple[float, ...]:
        """The mean of each part of the loss over the pictures that are held out.

        Each kind counts the same.
        """
        means = np.zeros(len(self.graphs.parts))
        straight = np.zeros(self.size, np.bool_)
        for kind in kinds:
            count = -(-len(kind.held_out) // self.size)
            for taken in np.resize(kind.held_out, (count, self.size)):
                feeds = self._feeds(taken.tolist(), straight)
                parts = self.meter({**feeds, **parameters})
                means += np.array([float(part) for part in parts.values()]) / count
        return tuple((means / len(kinds)).tolist())


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
