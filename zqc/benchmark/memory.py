"""The peak memory of a model, measured in a process of its own.

    python -m zqc.benchmark.memory MODEL FEEDS.npz THREADS PROVIDER

prints the bytes by which the process grew.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zqc.errors import RuntimeFailure
from zqc.files.scratch import scratch_folder
from zqc.runtime import process_memory, session
from zqc.runtime.child_process import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_RUNS = 3


def peak_memory(
    model: Path,
    feeds: Mapping[str, NDArray[np.generic]],
    *,
    threads: int,
    provider: str = session.CPU,
) -> int | None:
    """Return by how many bytes loading and running a model makes a process grow at most.

    The process has imported ONNX Runtime and read the inputs before.

    Args:
        model: An ONNX file.
        feeds: The inputs.
        threads: Threads inside an operator.
        provider: One of ``zqc.runtime.session.providers()``.

    Returns:
        The bytes, or None on a system without Linux's /proc/self/status.

    Raises:
        RuntimeFailure: The process failed, for example out of memory.
    """
    if not process_memory.STATUS.exists():
        return None
    with scratch_folder() as folder:
        inputs = folder / "feeds.npz"
        # By number: a name may hold characters that have a meaning in paths.
        names = np.array(list(feeds))
        np.savez(inputs, names, *feeds.values())
        arguments = [str(model.resolve()), str(inputs), str(threads), provider]
        child = subprocess.run(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if child.returncode != 0:
        said = child.stderr.strip().splitlines() or [f"it ended with {child.returncode}"]
        raise RuntimeFailure(f"the process that measures the memory of {model} failed: {said[-1]}")
    return int(child.stdout)


def _child(arguments: Sequence[str]) -> None:
    end_with_parent()
    model, inputs, threads, provider = arguments
    with np.load(inputs, allow_pickle=False) as archive:
        names, *values = (archive[f"arr_{index}"] for index in range(len(archive.files)))
    feeds = dict(zip(map(str, names), values, strict=True))
    before = process_memory.counted("VmRSS")
    runner = session.load(Path(model), threads=int(threads), provider=provider)
    for _ in range(_RUNS):
        runner(feeds)
    print(max(process_memory.counted("VmHWM") - before, 0))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    _child(sys.argv[1:])
