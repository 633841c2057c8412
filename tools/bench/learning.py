"""Time of one step of learned rounding: ONNX Runtime against PyTorch.

    python -m tools.bench.learning [MODEL ...] [--threads 2] [--repeats 5] [--batch 8]
        [--features-alone]

Measured on the example detector and on the models that are named, at W4A4, with all tensors that
``zqc compile`` counts. One step runs the float and the quantized network on a batch of pictures,
the loss between their tensors, its gradient for all weights and biases, and Adam. Where the loss of
the detector is known, agreement, detection (against labels at random) and heads are parts of the
loss, too, unless the features are asked for alone. A model that takes one picture at a time gets
one.

- zqc: the graph of ``zqc.tuning.step`` in an ONNX Runtime session, its state bound.
- PyTorch: the same forward graph, operator by operator (``tools.reference.onnx_to_torch``), eager,
  in float32, with autograd, roundings that let the gradient through, and ``torch.optim.Adam``.

First both make a step from the same state: printed are the losses, and the norm of the difference
of the gradients relative to that of PyTorch's. Then they run in turn, and the times are medians.
Memory is what making the step and two runs of it take at most, on top of the models and the
libraries, each side in a process of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tools.bench.peak_memory import apart, growth
from tools.paths import DETECTOR
from zqc import pipeline
from zqc.autodiff.shapes import fixed_copy
from zqc.commands.detector import detector_of
from zqc.detection.losses.known import loss_of
from zqc.errors import ZqcError
from zqc.model_io import model_file
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import fixed_batch, input_name, picture_shape
from zqc.pictures.structured_noise import structured_noise
from zqc.progress import Silent
from zqc.quantization.quantize import bits_by_layer
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.runtime import session
from zqc.synthesis.labels import first_objects
from zqc.tuning.goals import Goals, reader
from zqc.tuning.objective import Objective
from zqc.tuning.step import BETA1, BETA2, MOMENTS, SCALARS, Graphs, weight_name
from zqc.tuning.training import first_state
from zqc.tuning.tune import counted_tensors, training_graphs

FEATURES, ALL = Objective(agreement=0.0), Objective(detection=1.0, heads=1.0)
RATES = (0.006, 0.002, 1 / (1 - BETA2), 1e-12)
"""For ``SCALARS``, as in the first step."""

Step = Callable[[], tuple[float, list[NDArray[np.float32]]]]


@click.command(context_settings={"show_default": True})
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--threads", default=os.cpu_count() or 1, help="Threads of each side.")
@click.option("--repeats", default=5, help="Steps that are timed.")
@click.option("--batch", default=8, help="Pictures of a step, where the model leaves that free.")
@click.option("--features-alone", is_flag=True, help="Leave out the other parts of the loss.")
def main(
    models: tuple[Path, ...], threads: int, repeats: int, batch: int, features_alone: bool
) -> None:
    """Compare one step of learned rounding on the example and on MODELS."""
    print("| model | loss of | batch | zqc | PyTorch | zqc is | loss | gradient off by | memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    objective = FEATURES if features_alone else ALL
    for path in (DETECTOR, *models):
        try:
            task = Training.of(path, batch, threads, objective)
        except (ZqcError, NotImplementedError) as error:
            print(f"{path.name} is left out: {str(error).splitlines()[0]}")
            continue
        ours, theirs = zqc_step(task, threads), torch_step(task, threads)
        (loss, slopes), (expected, exact) = ours(), theirs()
        off = np.sqrt(
            sum(np.square(a - b).sum() for a, b in zip(slopes, exact, strict=True))
            / sum(np.square(b).sum() for b in exact)
        )
        times = [[], []]
        for _ in range(repeats):
            for side, step in zip(times, (ours, theirs), strict=True):
                started = time.perf_counter()
                step()
                side.append(time.perf_counter() - started)
        zqc, torch = (float(np.median(side)) for side in times)
        took = [
            apart(memory, side, path, batch, threads, objective) for side in (zqc_step, torch_step)
        ]
        print(
            f"| {path.name} | {', '.join(task.graphs.parts)} | {len(task.pictures)} "
            f"| {1e3 * zqc:.0f} ms | {1e3 * torch:.0f} ms "
            f"| {torch / zqc:.2f} × as fast | {loss:.6f}, {expected:.6f} | {off:.1e} "
            f"| {took[0]:.0f} MB, {took[1]:.0f} MB |",
            flush=True,
        )


@dataclass(frozen=True)
class Training:
    """What both sides do."""

    graphs: Graphs
    feeds: Mapping[str, NDArray[Any]]
    pictures: NDArray[np.float32]

    @classmethod
    def of(cls, path: Path, batch: int, threads: int, objective: Objective) -> Training:
        """Quantize a model in seconds, on noise."""
        loaded = model_file.load(path)
        recipe = Recipe(
            bits=4,
            act_bits=4,
            equalization="none",
            threshold="mse",
            rounding="nearest",
            uniform_bits=True,
            input_format=InputFormat(),
        )
        detector = detector_of(loaded)
        model, plan = pipeline.begin(loaded, Plan.of(recipe, threads=threads))
        size = fixed_batch(model) or batch
        pictures = structured_noise(max(size, 2), picture_shape(model), 0)
        batches = Batches.of(ImageSet.of_tensors(pictures, "noise"), model)
        outcome = pipeline.run(loaded, model, (), batches, plan, metadata={}, progress=Silent())
        found = training_graphs(
            outcome.candidate.model,
            outcome.written.quantized,
            bits_by_layer(model, recipe, outcome.bits_of),
            counted_tensors(model, plan),
            batches,
            size,
            loss_of(detector.convention, detector.facts),
            objective,
            seed=0,
            threads=threads,
        )
        assert found is not None  # a detector has layers
        source, goal = input_name(model), {}
        if found.detector is not None and "detection" in found.parts:
            read = reader(fixed_copy(model, size), found.detector)
            labels = first_objects(
                np.random.default_rng(0), size, found.detector.classes, found.detector.size
            )
            goals = Goals(read, found.detector, source, size, labels, threads)
            goal = goals([(index, False) for index in range(size)], pictures[:size])
        return cls(found, {source: pictures[:size], **goal}, pictures[:size])

    @property
    def weights(self) -> dict[str, float]:
        """What each part of the loss counts: as much as the others."""
        return dict.fromkeys(self.graphs.parts, 1.0)


def memory(
    side: Callable[[Training, int], Step],
    path: Path,
    batch: int,
    threads: int,
    objective: Objective,
) -> float:
    """What one side takes at most, in MB, see above."""
    import torch  # noqa: F401 - loaded by both, before anything is counted

    task = Training.of(path, batch, threads, objective)
    with growth() as found:
        step = side(task, threads)
        step()
        step()
    return found[0]


def zqc_step(task: Training, threads: int) -> Step:
    """One step with ONNX Runtime; the first moment after the first is the gradient."""
    names = [parameter.value.name or "" for parameter in task.graphs.parameters]
    started = first_state(task.graphs.parameters)
    state = {name: session.to_device(array) for name, array in started.items()}
    numbers = dict(zip(SCALARS, RATES, strict=True))
    numbers |= {weight_name(part): weight for part, weight in task.weights.items()}
    scalars = {name: np.array(number, np.float32) for name, number in numbers.items()}
    run = session.load(task.graphs.step, threads=threads)

    def step() -> tuple[float, list[NDArray[np.float32]]]:
        new = [f"new_{name}" for name in state]
        kept, rest = run.keeping(state, {**task.feeds, **scalars}, new)
        state.update(zip(state, kept.values(), strict=True))
        moments = [state[f"{name}_{MOMENTS[0]}"].numpy() for name in names]
        return float(rest["loss"]), moments

    return step


def torch_step(task: Training, threads: int) -> Step:
    """One step with PyTorch."""
    import torch

    from tools.reference.onnx_to_torch import TorchTwin

    torch.set_num_threads(threads)
    twin = TorchTwin(task.graphs.measure, detached=task.graphs.detached)
    parameters = task.graphs.parameters
    leaves = [torch.tensor(p.start, requires_grad=True) for p in parameters]
    groups = [
        {
            "params": [v for v, p in zip(leaves, parameters, strict=True) if p.is_bias is biases],
            "lr": rate,
        }
        for biases, rate in zip((False, True), RATES, strict=False)
    ]
    optimizer = torch.optim.Adam(groups, betas=(BETA1, BETA2))
    names = [p.value.name or "" for p in parameters]
    outputs = [value.name or "" for value in task.graphs.measure.graph.outputs]
    given = {name: torch.tensor(array) for name, array in task.feeds.items()}

    def step() -> tuple[float, list[NDArray[np.float32]]]:
        optimizer.zero_grad()
        parts = twin({**given, **dict(zip(names, leaves, strict=True))}, outputs)
        loss = sum(parts[n] * w for n, w in zip(outputs, task.weights.values(), strict=True))
        loss.backward()
        slopes = [v.grad.numpy().copy() for v in leaves]
        optimizer.step()
        return float(loss.detach()), slopes

    return step


if __name__ == "__main__":
    main()
