"""From a model to calibration pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.detection.losses.assignment import Objects
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.pictures.input_format import InputFormat
from zqc.progress import Progress, estimate
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis.loop import LayerGap, Loop, Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.state import State

_DIVERGED = (
    "diverged at step {}: the loss is no longer finite. Check --input-range or --mean/--std "
    "against what the model was trained with"
)


@dataclass(frozen=True)
class Synthesis:
    """Synthesised pictures and how well they match.

    Attributes:
        tensors: Input tensors, shape (N, C, H, W), within the valid pixel range.
        losses: Loss of the whole set before the first and after each pass over it.
        gaps: What is left, layer by layer.
        state: Where to go on from.
        stopped: Why it ended early; None if it did not.
        interrupted: Whether Ctrl-C came, before the end, so that it can go on, or thereafter.
        labels: What each picture shows, where it was synthesised for that; else empty.
    """

    tensors: NDArray[np.float32]
    losses: tuple[float, ...]
    gaps: tuple[LayerGap, ...]
    state: State
    stopped: str | None = None
    interrupted: bool = False
    labels: tuple[Objects, ...] = ()

    @property
    def first_loss(self) -> float:
        """Loss of the pictures that it began with."""
        return self.losses[0]

    @property
    def last_loss(self) -> float:
        """Loss of the pictures."""
        return self.losses[-1]


def synthesize(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    *,
    picture: tuple[int, int, int],
    input_format: InputFormat,
    schedule: Schedule,
    progress: Progress,
    objective: Objective | None = None,
    detector: DetectorLoss | None = None,
    threads: int | None = None,
    state: State | None = None,
    afterwards: Callable[[float], float] | None = None,
    keep: Callable[[State, str | None], None] | None = None,
) -> Synthesis:
    """Optimise a set of pictures until its pooled statistics are those that the model carries.

    Ctrl-C and a loss that is no longer finite end it early, with the last good pictures.

    Args:
        model: The model.
        layers: Statistics of values in it, from BatchNormalization or elsewhere.
        picture: Shape of one picture, (C, H, W).
        input_format: The input convention.
        schedule: Number of pictures, steps and seed.
        progress: Gets one step per pass over the set, and is told how long all of them will take.
        objective: Terms of the loss and augmentation; the defaults if None.
        detector: The loss of a detector, for pictures with labels; none by default.
        threads: Batches that are worked on at once; all cores by default.
        state: Where an earlier run of the same options stopped.
        afterwards: Seconds that the caller goes on to work with the pictures, from the seconds of
            a step; they count in what is told, and nowhere else.
        keep: Gets the state after each pass, before it changes again; and after Ctrl-C, before the
            pictures are measured, with why it stopped.

    Raises:
        UnsupportedOperatorError: The model has an operator without a gradient rule.
        RuntimeFailure: ONNX Runtime failed.
    """
    with progress.stage("Preparing the synthesis"):
        loop = Loop.of(
            model,
            layers,
            picture,
            input_format,
            schedule,
            objective or Objective(),
            threads,
            detector,
        )
        state = state or loop.start()
    stopped, interrupted = None, False
    begun_with, began = state.iteration, time.monotonic()
    with progress.task("Synthesising", schedule.passes) as task:
        task.advance(steps=state.iteration)
        try:
            while stopped is None and state.iteration < schedule.passes:
                if loop.advance(state):
                    if state.iteration == begun_with + 1:
                        step = time.monotonic() - began
                        rest = step * (schedule.passes - state.iteration)
                        rest += afterwards(step) if afterwards else 0.0
                        estimate(progress, rest, _plan(schedule))
                    task.advance(note=f"loss {state.losses[-1]:.3f}")
                    if keep is not None and state.iteration < schedule.passes:
                        keep(state, None)
                else:
                    stopped = _DIVERGED.format(state.iteration + 1)
        except KeyboardInterrupt:
            interrupted = True
            stopped = f"interrupted after {state.iteration} of {schedule.passes} steps"
            if keep is not None:
                keep(state, stopped)
    if stopped is None:
        state.end()  # before the tensors are made
    with progress.stage("Measuring the pictures"):
        try:
            tensors = _measured(loop, state)
        except KeyboardInterrupt:  # they are finished, and it takes a moment to measure them again
            interrupted, tensors = True, _measured(loop, state)
    return Synthesis(
        tensors,
        tuple(state.losses),
        loop.gaps(state),
        state,
        stopped,
        interrupted,
        tuple(one for labels in state.labels for one in labels.objects),
    )


def _measured(loop: Loop, state: State) -> NDArray[np.float32]:
    """The pictures, (N, C, H, W); the state gets what they are like."""
    schedule = loop.schedule
    tensors = np.empty((schedule.samples, *loop.picture), np.float32)
    for end, finished in zip(np.cumsum(schedule.sizes), loop.measure(state), strict=True):
        tensors[end - len(finished) : end] = finished
    return tensors


def _plan(schedule: Schedule) -> str:
    pictures = "1 picture" if schedule.samples == 1 else f"{schedule.samples} pictures"
    return f"{pictures}, {schedule.passes} steps each"
