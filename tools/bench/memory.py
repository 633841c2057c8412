"""Peak memory of the synthesis of a large set of pictures.

    python -m tools.bench.memory [--pictures 1024] [--size 320] [--steps 2]

``zqc.synthesis.generate.synthesize`` with its default options on the example detector, at pictures
of another size than it was exported for: only its last Reshapes hold on to that, and they come
after everything that the pictures are matched at. Memory does not depend on the number of steps.
Printed is the peak of the process so far: after the imports, after each step (0: the first pictures
are drawn and measured), and at the end, when the finished pictures are in one array.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from tools.bench.peak_memory import peak_megabytes
from tools.paths import DETECTOR
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.generate import synthesize
from zqc.synthesis.loop import Schedule


class Peaks(Silent):
    """Tells the peak memory where others tell their progress."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._done = 0

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Peaks]:  # noqa: ARG002 - the protocol's names
        """Begin."""
        yield self

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Tell it after a step."""
        self._done += steps
        self.say(f"step {self._done} {note}")

    def say(self, text: str) -> None:
        """Tell it."""
        seconds = time.perf_counter() - self._started
        print(f"{peak_megabytes():6.0f} MB after {seconds:4.0f} s: {text}", flush=True)


@click.command(context_settings={"show_default": True})
@click.argument("path", default=DETECTOR, type=click.Path(exists=True, path_type=Path))
@click.option("--pictures", default=1024)
@click.option("--size", default=320, help="Height and width of a picture.")
@click.option("--steps", default=2)
@click.option("--threads", default=os.cpu_count() or 1, help="Batches worked on at once.")
def main(path: Path, pictures: int, size: int, steps: int, threads: int) -> None:
    """Print the peaks of this process."""
    print(f"{path.name}, {pictures} pictures of {size}×{size}, {steps} steps, {threads} threads")
    peaks = Peaks()
    peaks.say("imports")
    model = model_file.load(path).model
    made = synthesize(
        model,
        harvest(model),
        picture=(3, size, size),
        input_format=InputFormat(),
        schedule=Schedule(samples=pictures, steps=steps),
        progress=peaks,
        threads=threads,
    )
    peaks.say(f"finished pictures, {made.tensors.nbytes / 1e6:.0f} MB of it")


if __name__ == "__main__":
    main()
