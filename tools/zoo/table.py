"""What zqc makes of the networks of the zoo.

python -m tools.zoo.table [NAME ...] [--export WAY ...] [--bits N] [--samples N] [--folder DIR]

The files are those that ``tools.zoo.build`` has written. Each is compiled as a user does it, with
``zqc compile FILE --images``, in a process of its own; calibrated with some held-out scenes and
compared with the float model on others. Each result is kept beside its model, in
``NAME.WAY.wB.result``, and not measured again while it is newer than the model.

The columns: weighted layers that run on integer kernels; SQNR of each part of the outputs, and
what of 40 dB in the pictures is left there in the float model, for one that amplifies noise does so
with that of quantization, too; average precision with the detections of the float model in the
place of labels, where zqc can read them; size and time of the file relative to the float one;
seconds of the compilation. Messages, and reasons for layers in float, are below it.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tools.paths import SCENES
from tools.zoo.decoding import convention_of
from tools.zoo.environment import FOLDER
from tools.zoo.exports import EXPORTS
from tools.zoo.network import Network
from tools.zoo.registry import NETWORKS
from tools.zoo.running import Result, run_zqc
from zqc.detection.agreement import OutputsMeter
from zqc.detection.average_precision import agreement
from zqc.detection.parts import output_parts
from zqc.errors import ZqcError
from zqc.model_io import model_file
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session

HELDOUT = SCENES / "heldout"
FEW = 4

_COLUMNS = (
    "model",
    "export",
    "integer",
    "agreement",
    "left of 40 dB",
    "AP",
    "size",
    "time",
    "seconds",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(NETWORKS)))
@click.option("--export", "ways", multiple=True, type=click.Choice(sorted(EXPORTS)))
@click.option("--bits", default=8, show_default=True, help="Of the weights.")
@click.option("--samples", default=32, show_default=True, help="Scenes, for either purpose.")
@click.option("--threads", default=1, show_default=True)
@click.option("--measure/--no-measure", default=True, help="Or only print what is there.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FOLDER / "models",
    show_default=True,
    help="Where the models are.",
)
def main(
    names: tuple[str, ...],
    ways: tuple[str, ...],
    bits: int,
    samples: int,
    threads: int,
    measure: bool,
    folder: Path,
) -> None:
    """Compile the networks NAMES, or all, and print a table."""
    notes: dict[str, list[str]] = {}
    print(_line(_COLUMNS))
    print(_line(["---"] * len(_COLUMNS)))
    for name in names or NETWORKS:
        for way in ways or EXPORTS:
            model = folder / f"{name}.{way}.onnx"
            kept = model.with_suffix(f".w{bits}.result")
            if measure and model.exists() and not _is_newer(kept, model):
                made = _measured(NETWORKS[name], model, bits, samples, threads)
                kept.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
            if not kept.exists():
                continue
            result = json.loads(kept.read_text(encoding="utf-8"))
            print(_line([name, way, *_cells(result)]), flush=True)
            for note in _notes(result):
                notes.setdefault(note, []).append(f"{name}.{way}")
    for note, files in notes.items():
        print(f"\n- {', '.join(files)}: {note}")


def _is_newer(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime > other.stat().st_mtime


def _measured(network: Network, model: Path, bits: int, samples: int, threads: int) -> Result:
    """Compile a file and compare the result: two JSON objects of zqc, or one with the error."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "compiled.onnx"
        first = _pictures(Path(folder) / "calibration", 0, samples)
        others = _pictures(Path(folder) / "comparison", 100, samples)
        files = [str(model), "-o", str(output), f"--images={first}", f"--samples={samples}"]
        options = [f"--bits={bits}", f"--threads={threads}", *_format_options(network)]
        compiled = run_zqc("compile", *files, *options)
        if "error" in compiled:
            return compiled
        checked = run_zqc("check", str(model), str(output), f"--images={others}", *options[1:])
        found = _agreement(network, model, output, others)
        left = _left(network, model, others)
        return {"compiled": compiled, "checked": checked, "ap": found, "left": left}


def _pictures(folder: Path, start: int, count: int) -> Path:
    folder.mkdir()
    for file in sorted(HELDOUT.iterdir())[start : start + count]:
        (folder / file.name).symlink_to(file.resolve())
    return folder


def _format_options(network: Network) -> list[str]:
    order = ["--bgr"] if network.bgr else ["--rgb"]
    if network.statistics is None:
        low, high = network.value_range
        return [f"--input-range={low:g}:{high:g}", *order]
    mean, std = (
        ",".join(map(str, each[::-1] if network.bgr else each)) for each in network.statistics
    )
    return [f"--mean={mean}", f"--std={std}", *order]


def _agreement(network: Network, model: Path, output: Path, pictures: Path) -> float | str:
    """AP of what the compiled file finds, with what the float file finds in the place of labels."""
    try:
        outputs = [list(_outputs(file, network, pictures)) for file in (model, output)]
        convention = convention_of(model, outputs[0][0], network.size)
        if convention is None:
            return "zqc does not know how the outputs hold boxes and scores"
        found = [[convention.decode(each)[0] for each in of_file] for of_file in outputs]
        result = agreement(*found)
    except (ZqcError, KeyError, IndexError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if result is None else result.ap


def _left(network: Network, model: Path, pictures: Path) -> dict[str, float | None]:
    """SQNR of each part of the float outputs, in dB, with noise 40 dB below the pictures."""
    part = model_file.load(model, input_shape=(network.size, network.size)).part()
    meter = OutputsMeter.of(output_parts(part))
    both = (_outputs(part, network, pictures, noise=level) for level in (0.0, 0.01))
    for one, other in zip(*both, strict=True):
        meter.update(one, other)
    return {found.part: found.sqnr_db for found in meter.results()}


def _outputs(
    file: Path | ir.Model, network: Network, folder: Path, *, noise: float = 0.0
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Run a file picture by picture, with so much noise relative to each picture."""
    rng = np.random.default_rng(0)
    pictures = open_images(
        folder,
        channels=3,
        height=network.size,
        width=network.size,
        input_format=_format(network),
    )
    run = session.load(file, threads=1)
    for picture in pictures.batches(1):
        level = noise * float(np.sqrt(np.square(picture).mean()))
        disturbed = picture + level * rng.standard_normal(picture.shape, np.float32)
        yield run({"images": disturbed.astype(np.float32)})


def _format(network: Network) -> InputFormat:
    if network.statistics is None:
        return InputFormat.from_range(*network.value_range, bgr=network.bgr)
    mean, std = (each[::-1] if network.bgr else each for each in network.statistics)
    return InputFormat.from_mean_std(mean, std, bgr=network.bgr)


def _cells(result: Result) -> list[str]:
    if "error" in result:
        return [result["error"]["type"], "", "", "", "", "", ""]
    compiled, checked = result["compiled"], result["checked"]
    layers = compiled["layers"]
    parts = checked.get("parts", compiled["agreement"])
    before, after = compiled["latency_before_ms"], compiled["latency_after_ms"]
    return [
        f"{sum(layer['integer'] for layer in layers)}/{len(layers)}",
        _agreements({part["part"]: part["sqnr_db"] for part in parts}),
        _agreements(result["left"]),
        f"{result['ap']:.3f}" if isinstance(result["ap"], float) else "",
        f"{compiled['bytes_after'] / compiled['bytes_before']:.3f}",
        f"{after / before:.2f}" if before and after else "",
        f"{compiled['seconds']:.0f}",
    ]


def _agreements(found: dict[str, float | None]) -> str:
    """The decibels of each part; of many parts the least and the largest."""
    known = {part: dB for part, dB in found.items() if dB is not None and np.isfinite(dB)}
    if len(known) > FEW:
        return f"{len(known)} parts {min(known.values()):.1f}…{max(known.values()):.1f} dB"
    return ", ".join(f"{part} {decibels:.1f} dB" for part, decibels in known.items())


def _notes(result: Result) -> Iterator[str]:
    if "error" in result:
        yield f"{result['error']['type']}: {result['error']['message']}"
        return
    if "error" in result["checked"]:
        yield f"zqc check: {result['checked']['error']['message']}"
    if isinstance(result["ap"], str) and result["ap"]:
        yield f"detections: {result['ap']}"
    layers = [layer for layer in result["compiled"]["layers"] if not layer["integer"]]
    for reason, count in Counter(layer["reason"] for layer in layers).items():
        names = [layer["name"] for layer in layers if layer["reason"] == reason]
        yield f"{count} layers in float, such as {names[0]}: {reason}"
    operators: Counter[str] = Counter()
    for each in result["compiled"]["float_operators"]:
        operators[each["op_type"]] += len(each["names"])
    if operators:
        counts = ", ".join(f"{count} {kind}" for kind, count in operators.items())
        yield f"other operators in float: {counts}"


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
