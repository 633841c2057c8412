"""Accuracy of a detector by bits and by calibration pictures: what the studies share.

Every number is the COCO mAP (0.50:0.95) on the held-out scenes of a folder. Calibration pictures of
all kinds are handed to ``zqc compile --images``: columns differ in nothing but the pictures.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

import zqc
from tools.example.scenes import SIZE
from zqc.pictures.input_format import InputFormat

PRECISIONS = {"W8A8": (8, 8), "W4A8": (4, 8), "W4A4": (4, 4)}
NOISE = 64

Row = dict[str, list[float]]


def compare(model: Path, other: Path, scenes: Path) -> tuple[float, float]:
    """The mAP of a float model and of another one with the same outputs."""
    checked = zqc.check(
        model,
        other,
        images=scenes / "heldout",
        labels=scenes / "heldout.json",
        input_format=InputFormat(),
    )
    assert checked.accuracy_float is not None
    assert checked.accuracy_quantized is not None
    return checked.accuracy_float.ap, checked.accuracy_quantized.ap


def measure(
    model: Path, scenes: Path, sources: Mapping[str, Sequence[Path]]
) -> tuple[float, dict[str, Row]]:
    """The mAP of the float model, and of compiled ones by precision and kind of source.

    Each number is also told on standard error as soon as it is known.
    """
    rows: dict[str, Row] = {}
    accuracy = 0.0
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        for name, (bits, act_bits) in PRECISIONS.items():
            recipe = zqc.Recipe(bits=bits, act_bits=act_bits, input_format=InputFormat())
            row = rows[name] = {}
            for kind, paths in sources.items():
                row[kind] = []
                for images in paths:
                    zqc.compile(model, output, recipe=recipe, images=images)
                    accuracy, quantized = compare(model, output, scenes)
                    row[kind].append(quantized)
                    click.echo(f"{model} {name} {kind}: {100 * quantized:.1f}", err=True)
    return accuracy, rows


def write_noise(path: Path, *, seed: int, channels: int = 3) -> Path:
    """Write pictures of uniform noise: in three channels, or in one that is repeated."""
    noise = np.random.default_rng(seed).random((NOISE, channels, SIZE, SIZE), np.float32)
    np.savez(path, images=np.broadcast_to(noise, (NOISE, 3, SIZE, SIZE)))
    return path


def cell(values: Sequence[float]) -> str:
    """Mean in percent, and the range over the seeds where there are several."""
    return spread([100 * value for value in values])


def spread(values: Sequence[float]) -> str:
    """Mean, and the range where there are several values."""
    ends = f" ({min(values):.1f}…{max(values):.1f})" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{ends}"
