"""The loop around the step graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc import runtime
from zqc.errors import RuntimeFailure
from zqc.input_format import InputFormat
from zqc.progress import Progress
from zqc.synthesis.objective import STATE, finish_model, step_model
from zqc.synthesis.statistics import LayerStatistics

_BETA1, _BETA2 = 0.9, 0.999
_PIXELS_PER_BATCH = 12 * 320 * 320
"""Bounds the memory of a step: about 4.5 GB on an SSD with a MobileNetV2."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast the pictures are optimised.

    Attributes:
        samples: Number of pictures.
        steps: Adam steps for each batch.
        batch: Pictures in a batch, over which statistics are pooled; less where memory asks for it.
        rate: First step size in units of the pixel range; it falls to 0 along a cosine.
        seed: Seed of the first pixels and of the flips.
    """

    samples: int
    steps: int
    batch: int = 32
    rate: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Synthesis:
    """Synthesised pictures and how well they match.

    Attributes:
        tensors: Input tensors, shape (N, C, H, W), within the valid pixel range.
        first_loss: Mean loss of the batches at their first step.
        last_loss: The same at their last step.
    """

    tensors: NDArray[np.float32]
    first_loss: float
    last_loss: float


def synthesize(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    *,
    picture: tuple[int, int, int],
    input_format: InputFormat,
    schedule: Schedule,
    progress: Progress,
    threads: int | None = None,
) -> Synthesis:
    """Optimise pictures until the model's BatchNorm layers see what they saw in training.

    Args:
        model: The model with BatchNormalization in it.
        layers: Its statistics.
        picture: Shape of one picture, (C, H, W).
        input_format: The input convention.
        schedule: Number of pictures, steps and seed.
        progress: Gets one step per optimiser step.
        threads: Threads of ONNX Runtime.

    Raises:
        UnsupportedOperatorError: The model has an operator without a gradient rule.
        RuntimeFailure: The loss is no longer finite.
    """
    sizes = _batch_sizes(schedule, picture)
    generator = np.random.default_rng(schedule.seed)
    tensors, first, last = [], [], []
    steppers: dict[int, runtime.Runner] = {}
    with progress.task("Synthesising", schedule.steps * len(sizes)) as task:
        for size in sizes:
            shape = (size, *picture)
            if size not in steppers:
                step = step_model(model, layers, shape=shape, input_format=input_format)
                steppers[size] = runtime.load(step, threads=threads)
            state = _start(generator, shape)
            losses = []
            for index in range(schedule.steps):
                state, loss = _step(steppers[size], state, index, schedule, generator)
                losses.append(loss)
                task.advance(note=f"loss {loss:.3f}")
            finish = runtime.load(finish_model(shape, input_format), threads=threads)
            tensors.append(finish({"pictures": state["pictures"]})["tensors"])
            first.append(losses[0] * size)
            last.append(losses[-1] * size)
    return Synthesis(
        np.concatenate(tensors).astype(np.float32),
        sum(first) / schedule.samples,
        sum(last) / schedule.samples,
    )


def _batch_sizes(schedule: Schedule, picture: tuple[int, int, int]) -> list[int]:
    """Sizes of the batches, as even as possible."""
    fitting = max(_PIXELS_PER_BATCH // (picture[1] * picture[2]), 1)
    batches = -(-schedule.samples // min(schedule.batch, fitting))
    return [len(part) for part in np.array_split(np.arange(schedule.samples), batches)]


def _start(
    generator: np.random.Generator, shape: tuple[int, int, int, int]
) -> dict[str, NDArray[np.float32]]:
    pictures = np.clip(generator.normal(0.5, 0.25, shape), 0, 1).astype(np.float32)
    return {
        "pictures": pictures,
        "first_moment": np.zeros(shape, np.float32),
        "second_moment": np.zeros(shape, np.float32),
    }


def _step(
    runner: runtime.Runner,
    state: dict[str, NDArray[np.float32]],
    index: int,
    schedule: Schedule,
    generator: np.random.Generator,
) -> tuple[dict[str, NDArray[np.float32]], float]:
    count = len(state["pictures"])
    rate = schedule.rate * 0.5 * (1 + np.cos(np.pi * index / schedule.steps))
    outputs = runner(
        {
            **state,
            "flips": generator.integers(0, 2, (count, 1, 1, 1)).astype(np.float32),
            "step_size": np.array(rate / (1 - _BETA1 ** (index + 1)), np.float32),
            "second_correction": np.array(1 / (1 - _BETA2 ** (index + 1)), np.float32),
        }
    )
    loss = float(outputs["loss"])
    if not np.isfinite(loss):
        raise RuntimeFailure(
            f"the synthesis diverged at step {index + 1}: the loss is {loss}. "
            "Check --input-range or --mean/--std against what the model was trained with."
        )
    return {name: outputs[f"new_{name}"].astype(np.float32, copy=False) for name in STATE}, loss
