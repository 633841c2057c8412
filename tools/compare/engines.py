"""Which engines take the files of zqc, and whether they compute what ONNX Runtime computes.

    python -m tools.compare.engines [MODEL ...] [--target NAME ...] [--images DIR]
                                    [--input-shape HxW] [--no-reference]

Each model, the example by default, is compiled for each target, with 8-bit and with 4-bit weights.
One picture of random pixels goes through ONNX Runtime with every node as ONNX defines it, which is
what these are held against:

- ONNX Runtime with its optimizations: integer kernels where it fuses,
- OpenVINO, asked for arithmetic in float32, and as it is by default (in an environment of its own,
  ``build/engines``, made on first use, 300 MB),
- onnx's reference evaluator, NumPy without any optimization. It takes minutes for large models.

The post-processing is float. Compared are the tensors that it begins with: for each output, those
on the last grids before it. The table says how many steps of its grid a value is away at most, and
which share of the values is equal.

Others get the file itself, and are held against ONNX Runtime with its optimizations, output by
output:

- ORT format, to which ``onnxruntime.tools.convert_onnx_models_to_ort`` converts the file in both of
  its styles. Equal means every bit.
- OpenCV (``cv2.dnn``), in the environment of OpenVINO. It names tensors in its own way, so that
  grids cannot be shown; the table has the SQNR of the output.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

import zqc
from passes.graph import constant
from tools.compare.peers.environment import Environment, SkippedError
from tools.paths import DETECTOR, ROOT, SCENES
from zqc.cli.options import size
from zqc.commands.read_recipe import read_recipe
from zqc.errors import ZqcError
from zqc.model_io import upgrade
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session

OPENVINO_RUNNER = Path(__file__).with_name("openvino_runner.py")
OPENCV_RUNNER = Path(__file__).with_name("opencv_runner.py")
REQUIREMENTS = ("openvino==2026.4.1", "opencv-python-headless==4.14.0.94")

FORMS = {
    f"{target}{f' {runtime}' if runtime else ''}, INT{bits}": zqc.Recipe(
        target=target, bits=bits, min_runtime=runtime
    )
    for target, runtime, widths in (
        ("ort-x86", None, (8, 4)),
        ("ort-x86", "1.16", (8, 4)),
        ("ort-arm", None, (8, 4)),
        ("portable", None, (8, 4)),
        ("symmetric", None, (8, 4)),
        ("openvino", None, (8, 4)),
        ("tensorrt", None, (8,)),
        ("qnn", None, (8,)),
        ("vitisai", None, (8,)),
    )
    for bits in widths
}
"""What is written, by name."""

ORT_FORMAT = "ORT format, "
"""What the names of the engines begin with whose rest is a style of the conversion."""

_SINCE = 21
"""onnx's evaluator does not know the first versions of DequantizeLinear."""

_SECONDS = 1200.0

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Result:
    """What an engine computed.

    Attributes:
        outputs: By name.
        precision: Of the arithmetic where it is not on integers, as far as the engine says.
        whole: Whether it got the file itself, without grids among its outputs.
    """

    outputs: Arrays
    precision: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Probe:
    """A file, and one with the last grids among its outputs.

    Attributes:
        file: Where the file is as zqc wrote it.
        path: Where the other one is.
        steps: The step of each last grid, by name of the tensor.
        grids: Names of the last grids that each output is computed from.
    """

    file: Path
    path: Path
    steps: Mapping[str, float]
    grids: Mapping[str, tuple[str, ...]]


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(sorted({recipe.target for recipe in FORMS.values()})),
    help="Files of which targets; of all by default.",
)
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="To calibrate with.")
@click.option("--input-shape", type=size, help="For models that leave it open.")
@click.option("--reference/--no-reference", default=True, help="Whether onnx's evaluator runs.")
@click.option(
    "--environment",
    default=ROOT / "build" / "engines" / "others",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where OpenVINO and OpenCV are.",
)
def main(
    models: tuple[Path, ...],
    targets: tuple[str, ...],
    images: Path | None,
    input_shape: tuple[int, int] | None,
    reference: bool,
    environment: Path,
) -> None:
    """Run the files that zqc writes of MODELS in other engines."""
    python = Environment(environment, REQUIREMENTS, _SECONDS)
    engines = ["ONNX Runtime, optimized", f"{ORT_FORMAT}Fixed", f"{ORT_FORMAT}Runtime"]
    engines += ["OpenVINO, float32", "OpenVINO, default", "OpenCV"]
    engines += ["onnx reference"] if reference else []
    forms = {n: r for n, r in FORMS.items() if not targets or r.target in targets}
    print(_line(["model", "file", "output", *engines]))
    print(_line(["---"] * (3 + len(engines))))
    for model in models or (DETECTOR,):
        given = SCENES / "training" if images is None and model == DETECTOR else images
        with tempfile.TemporaryDirectory() as folder:
            try:
                for form, probe in _written(model, forms, given, input_shape, Path(folder)):
                    for output, cells in _rows(probe, engines, python, Path(folder)):
                        print(_line([model.stem, form, output, *cells]), flush=True)
            except ZqcError as error:
                print(_line([model.stem, str(error)]), flush=True)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(
    model: Path,
    forms: Mapping[str, zqc.Recipe],
    images: Path | None,
    input_shape: tuple[int, int] | None,
    folder: Path,
) -> Iterator[tuple[str, Probe]]:
    """Compile each form with the same few pictures."""
    few = {"samples": 8, "effort": "quick", "input_shape": input_shape}
    if images is None:
        made = zqc.synthesize(model, folder / "made", recipe=zqc.Recipe(**few))
        images = made.directory / "pictures.npz"
    for number, (form, base) in enumerate(forms.items()):
        output = folder / f"{number}.onnx"
        zqc.compile(model, output, recipe=dataclasses.replace(base, **few), images=images)
        yield form, _probe(output)


def _probe(file: Path) -> Probe:
    """Write a file beside another one that shows the last grids among its outputs, too."""
    path = file.with_suffix(".probe.onnx")
    model = ir.load(file)
    grids: dict[ir.Value, set[ir.Value]] = {}
    for node in model.graph:
        found = set().union(*(grids.get(value, set()) for value in node.inputs if value))
        if node.op_type == "DequantizeLinear" and constant(node.inputs[0]) is None:
            found = {node.outputs[0]}
        grids.update(dict.fromkeys(node.outputs, found))
    by_output = {
        output.name: tuple(sorted(grid.name for grid in grids[output]))
        for output in model.graph.outputs
    }
    last = {grid.name: grid for output in model.graph.outputs for grid in grids[output]}
    steps = {}
    for name, grid in last.items():
        steps[name] = float(constant(grid.producer().inputs[1]))
        if not grid.is_graph_output():
            model.graph.outputs.append(grid)
    ir.save(model, path)
    return Probe(file, path, steps, by_output)


def _rows(
    probe: Probe, engines: list[str], python: Environment, folder: Path
) -> Iterator[tuple[str, list[str]]]:
    """For each output what every engine makes of the grids before it."""
    feeds = _pixels(probe.path)
    expected = session.load(probe.path, threads=1, optimize=False)(feeds)
    as_written = session.load(probe.file, threads=1)(feeds)
    results: list[Result | str] = []
    for engine in engines:
        try:
            results.append(_run(engine, probe, feeds, python, folder))
        except (ZqcError, SkippedError, subprocess.TimeoutExpired) as error:
            results.append(f"skipped: {error}")
    for output, grids in probe.grids.items():
        cells = [
            found
            if isinstance(found, str)
            else _whole_cell(as_written[output], found.outputs[output])
            if found.whole
            else _cell(expected, found, grids, probe.steps)
            for found in results
        ]
        yield output, cells


def _run(
    engine: str, probe: Probe, feeds: Arrays, python: Environment, folder: Path
) -> Result | str:
    """What one engine computes, or why it does not."""
    if engine.startswith("ONNX Runtime"):
        return Result(session.load(probe.path, threads=1)(feeds))
    if engine.startswith("onnx"):
        evaluator = ReferenceEvaluator(upgrade.raise_opset(onnx.load(probe.path), _SINCE))
        try:
            values = evaluator.run(None, feeds)
        except Exception as error:  # it is not finished, and raises what NumPy raises
            return f"fails: {upgrade.first_line(error)[:60]}"
        return Result(dict(zip(evaluator.output_names, values, strict=True)))
    if engine.startswith(ORT_FORMAT):
        return _converted(engine.removeprefix(ORT_FORMAT), probe.file, feeds, folder)
    if engine == "OpenCV":
        found = _elsewhere(python, OPENCV_RUNNER, probe.file, feeds, folder)
        return found if isinstance(found, str) else Result(found[0], whole=True)
    precision = "f32" if engine.endswith("float32") else "default"
    found = _elsewhere(python, OPENVINO_RUNNER, probe.path, feeds, folder, precision)
    if isinstance(found, str):
        return found
    outputs, printed = found
    return Result(outputs, printed if precision == "default" else "")


def _converted(style: str, file: Path, feeds: Arrays, folder: Path) -> Result | str:
    """What ONNX Runtime computes from the file in ORT format, or why there is none."""
    output = folder / style
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    tool = [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(file)]
    command = [*tool, "--output_dir", str(output), "--optimization_style", style]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    files = list(output.glob("*.ort"))
    if done.returncode or not files:
        return f"refused: {_last_line(done.stderr)}"
    try:
        return Result(session.load(files[0], threads=1)(feeds), whole=True)
    except ZqcError:
        return "converts, but does not load"


def _elsewhere(
    python: Environment, runner: Path, model: Path, feeds: Arrays, folder: Path, *more: str
) -> tuple[Arrays, str] | str:
    """What a runner computes in the environment, and what it prints, or why it does neither."""
    python.ensure()
    given, outputs = folder / "feeds.npz", folder / "outputs.npz"
    np.savez(given, **feeds)
    command = [str(python.python), str(runner), *map(str, (model, given, outputs)), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        return f"refused: {_last_line(done.stderr)}"
    with np.load(outputs) as found:
        return dict(found), done.stdout.strip()


def _last_line(errors: str) -> str:
    return (errors.strip().splitlines() or ["it said nothing"])[-1][:100]


def _pixels(path: Path) -> Arrays:
    """One picture of random pixels on the input's grid, in the range that the file is compiled for.

    Engines quantize a picture by division or by multiplication. Half-way between two steps that
    would round a few pixels otherwise, which says nothing of the network.
    """
    (image,) = ir.load(path).graph.inputs
    sides = [side if isinstance(side, int) else 1 for side in image.shape or ()]
    chosen = read_recipe(path).input_format or InputFormat()
    low, high = min(chosen.low), max(chosen.high)
    pixels = np.random.default_rng(0).uniform(low, high, sides)
    quantizers = [use.node for use in image.uses() if use.node.op_type == "QuantizeLinear"]
    for step in (constant(node.inputs[1]) for node in quantizers):
        pixels = np.rint(pixels / step) * step
    return {image.name or "": pixels.astype(np.float32)}


def _cell(
    expected: Arrays, found: Result, grids: tuple[str, ...], steps: Mapping[str, float]
) -> str:
    """The largest difference in steps, and the share of equal values."""
    differences = [(found.outputs[n] - expected[n]) / steps[n] for n in grids]
    away = np.concatenate([np.abs(np.rint(values)).reshape(-1) for values in differences])
    largest, equal = int(away.max()), 100 * float(np.mean(away == 0))
    text = f"{largest} step{'s' * (largest > 1)}, {min(equal, 99.99):.2f} % equal"
    note = f" ({found.precision})" if found.precision else ""
    return ("equal" if largest == 0 else text) + note


def _whole_cell(expected: NDArray[np.generic], found: NDArray[np.generic]) -> str:
    """Whether an output is the same to the last bit, else its SQNR in dB."""
    if found.shape != expected.shape:
        return "another shape"
    if np.array_equal(expected, found):
        return "equal"
    reference, computed = (np.asarray(values, np.float64) for values in (expected, found))
    noise = float(np.mean((computed - reference) ** 2))
    return f"SQNR {10 * math.log10(float(np.mean(reference**2)) / noise):.0f} dB"


if __name__ == "__main__":
    main()
