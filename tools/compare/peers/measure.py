"""What a written file is worth, measured the same way whoever wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from tools.example.accuracy import compare
from zqc.runtime import session
from zqc.runtime.latency import alternating_times

_ROUNDS = 200


@dataclass(frozen=True)
class Measured:
    """A quantized file beside the float one.

    Attributes:
        accuracy_float: COCO mAP of the float model on the held-out pictures, in 0…1.
        accuracy: The same of the quantized one.
        size: Bytes, relative to the float model's.
        latency: Time of one picture on one thread, relative to the float model's; None until all
            files are measured together, see ``latencies``.
        fused: Conv nodes that ONNX Runtime runs as QLinearConv.
        layers: Conv nodes of the float model.
    """

    accuracy_float: float
    accuracy: float
    size: float
    fused: int
    layers: int
    latency: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        tool: Who quantized.
        bits: Of weights and activations, such as ``W4A8``.
        variant: What it was asked for, in words.
        pictures: Real pictures that it was given.
        seconds: Processor time that it took; None where it is skipped.
        measured: What came out; None where it is skipped.
        skipped: Why it is; empty where it is not.
    """

    tool: str
    bits: str
    variant: str
    pictures: int
    seconds: float | None = None
    measured: Measured | None = None
    skipped: str = ""


def measure(model: Path, other: Path, scenes: Path) -> Measured:
    """Compare a quantized file with the float model that it was made from, but for its latency.

    Args:
        model: The float model.
        other: The quantized one; external data counts if it lies in the same folder, alone there.
        scenes: A folder with ``heldout`` and ``heldout.json``.

    Raises:
        ZqcError: ONNX Runtime refuses the file, or its outputs are not the model's.
    """
    executed = Counter(node.op_type for node in session.executed_graph(other).graph)
    accuracy_float, accuracy = compare(model, other, scenes)
    layers = sum(node.op_type == "Conv" for node in onnx.load(model).graph.node)
    written = sum(file.stat().st_size for file in other.parent.iterdir())
    return Measured(
        accuracy_float=accuracy_float,
        accuracy=accuracy,
        size=written / model.stat().st_size,
        fused=executed["QLinearConv"],
        layers=layers,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown; what is skipped, with the reason, below."""
    lines = [
        "| tool | bits | asked for | pictures | mAP | size | latency | QLinearConv | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for row in rows:
        if row.measured is None or row.seconds is None:
            notes.append(f"{row.tool} {row.bits} ({row.variant}) is skipped: {row.skipped}")
            continue
        m = row.measured
        lines.append(
            f"| {row.tool} | {row.bits} | {row.variant} | {row.pictures or 'none'} "
            f"| {100 * m.accuracy:.1f} | {m.size:.3f} | {_times(m.latency)} | {m.fused}/{m.layers} "
            f"| {row.seconds:.0f} s |"
        )
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _times(latency: float | None) -> str:
    return "–" if latency is None else f"{latency:.2f} ×"


def latencies(
    model: Path, files: Sequence[Path], feeds: dict[str, NDArray[np.float32]]
) -> list[float]:
    """Return the time of every file relative to the float model's, all in the same run.

    They take turns. Counted is the time that the processor works for this process, and of that the
    least: what else a machine does can only add to it.

    Args:
        model: The float model.
        files: What ONNX Runtime can load.
        feeds: One picture.
    """
    runners = [session.load(path, threads=1) for path in (model, *files)]
    times = alternating_times(runners, feeds, rounds=_ROUNDS)
    before, *after = (min(each.processor) for each in times)
    return [time / before for time in after]
