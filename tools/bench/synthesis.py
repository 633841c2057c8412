"""Time and memory of one step of the synthesis: ONNX Runtime against PyTorch.

    python -m tools.bench.synthesis [MODEL ...] [--threads 2] [--repeats 5] [--batchnorm both]

Measured on the example detector and on the models that are named. One step lets each of 8 pictures
of the model's own size make one step: forward to the last BatchNorm layer, the loss on the means
and standard deviations of all their outputs, backward to the pixels, the optimiser's step, and the
clip to the range of pixels. There is no augmentation, and no second forward pass after the step.

- zqc: ``Loop.advance`` on a set of 8 pictures, as ``zqc synthesize`` runs it: batches of
  ``Schedule.batch`` pictures side by side on as many worker threads as are given, each in an ONNX
  Runtime session of one thread; four batches at a time step from the same pooled moments. Its
  optimiser is Adam with one second moment a picture (Adam-mini).
- PyTorch: the same 8 pictures as one batch with as many threads inside an operator, eager, in
  float32, with ``torch.optim.Adam`` (``tools.reference.torch_synthesis``). The network is built
  from the same ONNX graph, with BatchNorm in inference mode kept in it, as a hook-based
  implementation has it; ``--batchnorm`` also gives it the graph with BatchNorm folded, where zqc
  starts from. Parameters need no gradient.

First both make a step on the same 4 pictures, where all of zqc's batches start from the same pooled
moments. Printed are the losses, and the norm of the difference of each gradient from PyTorch's in
float64, relative to the norm of that: where rounding moves an activation across a kink (ReLU, max
pool), two gradients in float32 differ by more than rounding. Then the sides run in turn, and the
times are medians. Peak memory is that of a process that does nothing but make 4 steps with one of
them, and of it what is there once the libraries are imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tools.bench.peak_memory import peak_megabytes
from tools.paths import DETECTOR
from zqc.errors import InputShapeError, ZqcError
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import picture_shape
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.loop import Loop, Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.state import State

PICTURES = 8
COMPARED = 4
ZQC, KEPT, FOLDED = "zqc", "PyTorch", "PyTorch, BatchNorm folded"
CHOICES = {"kept": (ZQC, KEPT), "folded": (ZQC, FOLDED), "both": (ZQC, KEPT, FOLDED)}

Step = Callable[[], object]


@click.command(context_settings={"show_default": True})
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--threads", default=os.cpu_count() or 1, help="Threads of each side.")
@click.option("--repeats", default=5, help="Steps that are timed.")
@click.option("--size", default=320, help="Height and width where a model leaves them open.")
@click.option(
    "--batchnorm", default="kept", type=click.Choice(tuple(CHOICES)), help="In PyTorch's graph."
)
@click.option("--memory/--no-memory", default=True, help="Whether peak memory is measured.")
@click.option("--alone", type=click.Choice(CHOICES["both"]), hidden=True)
def main(
    models: tuple[Path, ...],
    threads: int,
    repeats: int,
    size: int,
    batchnorm: str,
    memory: bool,
    alone: str | None,
) -> None:
    """Compare one step of the synthesis on the example and on MODELS."""
    if alone:
        _measure_memory(alone, models[0], size, threads)
        return
    sides = CHOICES[batchnorm]
    print(f"one step of {PICTURES} pictures, {threads} threads, median of {repeats}\n")
    print("| model | pictures | side | step | zqc is | peak memory | of it imports |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for path in (DETECTOR, *models):
        try:
            model = load(path, size)
            notes.append(f"{path.name}: {difference(model, threads)}")
            times = timed(model, sides, threads, repeats)
        except (ZqcError, NotImplementedError) as error:
            notes.append(f"{path.name} is left out: {str(error).splitlines()[0]}")
            continue
        shape = "×".join(str(n) for n in picture_shape(model))
        for side in sides:
            row = f"| {path.name} | {shape} | {side} | {1e3 * times[side]:.1f} ms "
            row += "| " if side == ZQC else f"| {times[side] / times[ZQC]:.2f} × as fast "
            if memory:
                peak, imports = _memory(side, path, size, threads)
                row += f"| {peak:.0f} MB | {imports:.0f} MB |"
            else:
                row += "| | |"
            print(row, flush=True)
    print("", *notes, sep="\n")


def load(path: Path, size: int) -> ir.Model:
    """Read a model, with a height and width for one that leaves them open."""
    try:
        return model_file.load(path).model
    except InputShapeError:
        return model_file.load(path, input_shape=(size, size)).model


def start(model: ir.Model, pictures: int, threads: int) -> tuple[Loop, State]:
    """Zqc's loop, and the structured pictures that it begins with."""
    loop = Loop.of(
        model,
        harvest(model),
        picture_shape(model),
        InputFormat(),
        Schedule(samples=pictures, steps=1_000_000, refresh=False),
        Objective(flip=False, smooth=False, margin=0),
        threads,
    )
    return loop, loop.start()


def side_step(side: str, model: ir.Model, threads: int) -> Step:
    """A function that lets all pictures make one step."""
    if side == ZQC:
        loop, state = start(model, PICTURES, threads)
        return lambda: loop.advance(state)
    import torch  # not in the process in which the memory of the other side is measured

    from tools.reference.torch_synthesis import TorchSynthesis

    torch.set_num_threads(threads)
    noise = np.random.default_rng(0).normal(0.5, 0.25, (PICTURES, *picture_shape(model)))
    pictures = np.clip(noise, 0, 1).astype(np.float32)
    return TorchSynthesis(model, harvest(model), pictures, folded=side == FOLDED).step


def difference(model: ir.Model, threads: int) -> str:
    """Say by how much the sides differ at the same pictures."""
    import torch

    from tools.reference.torch_synthesis import TorchSynthesis

    loop, state = start(model, COMPARED, threads)
    layers, pictures = harvest(model), _joined(state, "pictures")
    twin = TorchSynthesis(model, layers, pictures)
    exact = TorchSynthesis(model, layers, pictures, dtype=torch.float64)
    loop.advance(state)
    losses = state.losses[0], twin.step(), exact.step()
    gradients = _joined(state, "first_moment"), twin.gradient  # before the first step it was 0
    off = [np.linalg.norm(g - exact.gradient) / np.linalg.norm(exact.gradient) for g in gradients]
    loss = "loss {:.6f}, in PyTorch {:.6f}, in float64 {:.6f}".format(*losses)
    return loss + "; gradient off by {:.1e}, in PyTorch by {:.1e}".format(*off)


def timed(model: ir.Model, sides: Iterable[str], threads: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step of each side, in turn, after one that does not count."""
    steps = {side: side_step(side, model, threads) for side in sides}
    times: dict[str, list[float]] = {side: [] for side in steps}
    for repeat in range(repeats + 1):
        for side, step in steps.items():
            started = time.perf_counter()
            step()
            if repeat:
                times[side].append(time.perf_counter() - started)
    return {side: float(np.median(seconds)) for side, seconds in times.items()}


def _joined(state: State, name: str) -> NDArray[np.float32]:
    return np.concatenate([batch[name].numpy() for batch in state.batches])


def _memory(side: str, path: Path, size: int, threads: int) -> tuple[float, float]:
    """Peak memory of a process of one side, and what of it its imports need, in MB."""
    options = ["--alone", side, "--size", str(size), "--threads", str(threads)]
    command = [sys.executable, "-m", __spec__.name, str(path), *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, imports = json.loads(output)
    return peak, imports


def _measure_memory(side: str, path: Path, size: int, threads: int) -> None:
    if side != ZQC:
        from tools.reference import torch_synthesis  # noqa: F401
    imports = peak_megabytes()
    step = side_step(side, load(path, size), threads)
    for _ in range(4):
        step()
    print(json.dumps([peak_megabytes(), imports]))


if __name__ == "__main__":
    main()
