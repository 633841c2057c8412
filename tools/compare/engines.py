"""Whether other engines compute what ONNX Runtime computes from the portable files of zqc.

    python -m tools.compare.engines [MODEL ...] [--images DIR] [--input-shape HxW] [--no-reference]

Each model, the example by default, is compiled for ``--target portable`` with 8 bits and with
4-bit weights. One picture of random pixels goes through ONNX Runtime with every node as ONNX
defines it, which is what all others are held against:

- ONNX Runtime with its optimizations: integer kernels where it fuses,
- OpenVINO, asked for arithmetic in float32, and as it is by default (in an environment of its own,
  ``build/engines``, made on first use, 200 MB),
- onnx's reference evaluator, NumPy without any optimization. It takes minutes for large models.

The post-processing is float. Compared are the tensors that it begins with: for each output, those
on the last grids before it. The table says how many steps of its grid a value is away at most, and
which share of the values is equal.
"""

from __future__ import annotations

import dataclasses
import subprocess
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

RUNNER = Path(__file__).with_name("openvino_runner.py")
OPENVINO = ("openvino==2026.4.1",)

FORMS = {
    "INT8": zqc.Recipe(target="portable"),
    "INT4": zqc.Recipe(target="portable", bits=4),
}
"""What is written, by name."""

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
    """

    outputs: Arrays
    precision: str = ""


@dataclass(frozen=True)
class Probe:
    """A file with the last grids among its outputs.

    Attributes:
        path: Where it is.
        steps: The step of each last grid, by name of the tensor.
        grids: Names of the last grids that each output is computed from.
    """

    path: Path
    steps: Mapping[str, float]
    grids: Mapping[str, tuple[str, ...]]


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="To calibrate with.")
@click.option("--input-shape", type=size, help="For models that leave it open.")
@click.option("--reference/--no-reference", default=True, help="Whether onnx's evaluator runs.")
@click.option(
    "--environment",
    default=ROOT / "build" / "engines" / "openvino",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where OpenVINO is.",
)
def main(
    models: tuple[Path, ...],
    images: Path | None,
    input_shape: tuple[int, int] | None,
    reference: bool,
    environment: Path,
) -> None:
    """Run the portable files of MODELS in other engines."""
    python = Environment(environment, OPENVINO, _SECONDS)
    engines = ["ONNX Runtime, optimized", "OpenVINO, float32", "OpenVINO, default"]
    engines += ["onnx reference"] if reference else []
    print(_line(["model", "bits", "output", *engines]))
    print(_line(["---"] * (3 + len(engines))))
    for model in models or (DETECTOR,):
        given = SCENES / "training" if images is None and model == DETECTOR else images
        with tempfile.TemporaryDirectory() as folder:
            try:
                for form, probe in _written(model, given, input_shape, Path(folder)):
                    for output, cells in _rows(probe, engines, python, Path(folder)):
                        print(_line([model.stem, form, output, *cells]), flush=True)
            except ZqcError as error:
                print(_line([model.stem, str(error)]), flush=True)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _written(
    model: Path, images: Path | None, input_shape: tuple[int, int] | None, folder: Path
) -> Iterator[tuple[str, Probe]]:
    """Compile each form with the same few pictures."""
    few = {"samples": 4, "effort": "quick", "input_shape": input_shape}
    if images is None:
        made = zqc.synthesize(model, folder / "made", recipe=zqc.Recipe(**few))
        images = made.directory / "pictures.npz"
    for form, base in FORMS.items():
        output = folder / f"{form}.onnx"
        zqc.compile(model, output, recipe=dataclasses.replace(base, **few), images=images)
        yield form, _probe(output)


def _probe(path: Path) -> Probe:
    """Show the last grids among the outputs of a file."""
    model = ir.load(path)
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
    return Probe(path, steps, by_output)


def _rows(
    probe: Probe, engines: list[str], python: Environment, folder: Path
) -> Iterator[tuple[str, list[str]]]:
    """For each output what every engine makes of the grids before it."""
    feeds = _pixels(probe.path)
    expected = session.load(probe.path, threads=1, optimize=False)(feeds)
    results: list[Result | str] = []
    for engine in engines:
        try:
            results.append(_run(engine, probe, feeds, python, folder))
        except (ZqcError, SkippedError, subprocess.TimeoutExpired) as error:
            results.append(f"skipped: {error}")
    for output, grids in probe.grids.items():
        cells = [
            found if isinstance(found, str) else _cell(expected, found, grids, probe.steps)
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
    python.ensure()
    given, outputs = folder / "feeds.npz", folder / "outputs.npz"
    np.savez(given, **feeds)
    precision = "f32" if engine.endswith("float32") else "default"
    command = [str(python.python), str(RUNNER), *map(str, (probe.path, given, outputs)), precision]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        return f"refused: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1][:100]}"
    with np.load(outputs) as found:
        return Result(dict(found), done.stdout.strip() if precision == "default" else "")


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


if __name__ == "__main__":
    main()
