"""Which versions of ONNX Runtime load and run what zqc writes, and whether they compute the same.

    python -m tools.compare.versions [MODEL ...] [--images DIR] [--input-shape HxW]

Each version runs in a virtual environment of its own (``build/runtimes``, made on first use, 100 to
300 MB each); one that cannot be installed is skipped with the reason. Of each model, the example
by default, three files are made: INT8, INT4 as zqc writes it, and INT4 with ``--min-runtime 1.16``.
A version loads each, optimises it and runs it on random pixels.

The table says how many of the layers run as integer kernels, and whether all outputs are those of
the newest version to the last bit, or how far the farthest is away, relative to the largest value.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

import zqc
from tools.compare.peers.environment import Environment, SkippedError
from tools.paths import DETECTOR, ROOT, SCENES
from zqc.cli.options import size
from zqc.commands.read_recipe import read_recipe
from zqc.errors import ZqcError
from zqc.model_io import onnx_file
from zqc.pictures.input_format import InputFormat
from zqc.runtime.executed import INTEGER_LAYERS

RUNNER = Path(__file__).with_name("version_runner.py")

VERSIONS = {
    "1.16.3": ("numpy<2",),
    "1.18.1": ("numpy<2",),
    "1.20.1": (),
    "1.22.1": (),
    "1.23.2": (),
}
"""Versions and what has to be installed with them."""

FORMS = {
    "INT8": zqc.Recipe(),
    "INT4, Cast": zqc.Recipe(bits=4),
    "INT4, packed": zqc.Recipe(bits=4, min_runtime="1.16"),
}
"""What is written, by name."""

_SECONDS = 1200.0

Outputs = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class File:
    """A file that zqc wrote.

    Attributes:
        path: Where it is.
        layers: Weighted layers that it has.
        text: Opset and IR version in words.
    """

    path: Path
    layers: int
    text: str


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="To calibrate with.")
@click.option("--input-shape", type=size, help="For models that leave it open.")
@click.option(
    "--environments",
    default=ROOT / "build" / "runtimes",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where they are.",
)
def main(
    models: tuple[Path, ...],
    images: Path | None,
    input_shape: tuple[int, int] | None,
    environments: Path,
) -> None:
    """Load and run what zqc makes of MODELS in several versions of ONNX Runtime."""
    pythons = dict(_pythons(environments))
    for model in models or (DETECTOR,):
        given = SCENES / "training" if images is None and model == DETECTOR else images
        with tempfile.TemporaryDirectory() as folder:
            try:
                files = dict(_written(model, given, input_shape, Path(folder)))
            except ZqcError as error:
                print(f"{model.stem}: {error}\n")
                continue
            print(f"**{model.stem}**\n")
            print(_table(files, pythons, Path(folder)), end="\n\n")


def _pythons(environments: Path) -> Iterator[tuple[str, Path | str]]:
    """The interpreter of each version, the newest first, or why there is none."""
    yield ort.__version__, Path(sys.executable)
    for version, others in reversed(VERSIONS.items()):
        requirements = (f"onnxruntime=={version}", *others)
        environment = Environment(environments / f"ort-{version}", requirements, _SECONDS)
        try:
            environment.ensure()
            yield version, environment.python
        except SkippedError as error:
            yield version, f"skipped: {error}"


def _written(
    model: Path, images: Path | None, input_shape: tuple[int, int] | None, folder: Path
) -> Iterator[tuple[str, File]]:
    """Compile each form with the same few pictures."""
    few = {"samples": 4, "effort": "quick", "input_shape": input_shape}
    if images is None:
        made = zqc.synthesize(model, folder / "made", recipe=replace(zqc.Recipe(), **few))
        images = made.directory / "pictures.npz"
    for number, (form, base) in enumerate(FORMS.items()):
        output, recipe = folder / f"{number}.onnx", replace(base, **few)
        result = zqc.compile(model, output, recipe=recipe, images=images)
        proto = onnx.load(output)
        text = f"opset {proto.opset_import[0].version}, IR {proto.ir_version}"
        yield form, File(output, len(result.layers), text)


def _table(files: dict[str, File], pythons: dict[str, Path | str], folder: Path) -> str:
    """A line for each version, a column for each form."""
    heads = [f"{form} ({file.text})" for form, file in files.items()]
    rows = [["onnxruntime", *heads], ["---"] * (1 + len(files))]
    expected: dict[str, Outputs] = {}
    for version, python in pythons.items():
        row = [version]
        for form, file in files.items():
            if isinstance(python, str):
                row.append(python)
                continue
            row.append(_cell(python, file, form, expected, folder))
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in [*rows[:2], *reversed(rows[2:])])


def _cell(python: Path, file: File, form: str, expected: dict[str, Outputs], folder: Path) -> str:
    """What one version makes of one file; the first one's outputs are what others should give."""
    feeds, outputs, executed = (folder / n for n in ("feeds.npz", "outputs.npz", "executed.onnx"))
    np.savez(feeds, **_pixels(file.path))
    command = [str(python), str(RUNNER), *map(str, (file.path, feeds, outputs, executed))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        return f"refused: {_reason(done.stderr)}"
    graph = onnx.load(executed).graph
    fused = sum(node.op_type in INTEGER_LAYERS for node in graph.node)
    with np.load(outputs) as found:
        got = dict(found)
    same = _same(expected.setdefault(form, got), got)
    return f"{fused}/{file.layers}, {same}"


def _pixels(path: Path) -> Outputs:
    """One picture of random pixels in the range that the file was compiled for."""
    image = onnx_file.read(path).proto.graph.input[0]
    sides = [side.dim_value or 1 for side in image.type.tensor_type.shape.dim]
    chosen = read_recipe(path).input_format or InputFormat()
    low, high = min(chosen.low), max(chosen.high)
    pixels = np.random.default_rng(0).uniform(low, high, sides).astype(np.float32)
    return {image.name: pixels}


def _same(expected: Outputs, got: Outputs) -> str:
    worst = 0.0
    for name, values in expected.items():
        if got[name].shape != values.shape:
            return "other shapes"
        if values.size:
            difference = np.abs(got[name].astype(np.float64) - values.astype(np.float64)).max()
            worst = max(worst, float(difference / max(np.abs(values).max(), 1e-30)))
    return "equal" if worst == 0 else f"within {worst:.0e}"


def _reason(errors: str) -> str:
    """What of a traceback names the cause: behind codes, files and C++ signatures."""
    lines = [line for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    code = r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from \S+ failed:)?"
    cause = re.sub(code, "", lines[-1])
    if "onnxruntime_src" in cause:
        cause = cause.rpartition(") ")[2]
    return cause.strip().rstrip(".")[:80]


if __name__ == "__main__":
    main()
