"""Time and memory of calibration: zqc's streaming statistics against ONNX Runtime's entropy method.

    python -m tools.bench.calibration MODEL PICTURES [--count 500] [--input-range -1:1]

Both sides read the same pictures, cut out of the files below PICTURES at random places and sizes
and prepared beforehand as 8-bit pixels, one at a time. Each works in a process of its own, from the
file of the model to the finished thresholds; imports are not timed, as neither side needs them more
than once. The processor time is that of the whole process, on all cores: it says more than the
other where a machine does other work.

- zqc: ``prepare``, then ``calibrate.calibrate`` of every tensor that it quantizes,
  with the second moments of the layers' inputs, which the rounding of the weights needs.
- ONNX Runtime: ``quant_pre_process`` (folds BatchNorm) and ``EntropyCalibrater`` of the operators
  that ``quantize_static`` calibrates, with its own defaults.

ONNX Runtime's holds every tensor of every picture at once and has no option against that for this
method (``max_intermediate_outputs`` is for min/max alone). ``--memory-limit`` keeps it from taking
the machine down: where it runs into it, both are compared at as many pictures as it can hold, and
zqc is measured with all of them as well.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.bench.peak_memory import peak_megabytes
from zqc.calibration.calibrate import calibrate
from zqc.model_io import model_file
from zqc.pictures.batches import Batches
from zqc.pictures.images import SUFFIXES, ImageSet
from zqc.pictures.input_format import InputFormat
from zqc.pictures.model_input import picture_shape
from zqc.progress import Silent
from zqc.quantization.prepare import points_of, prepare
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe

ZQC, ORT = "zqc", "ONNX Runtime"
MARGIN = 0.85
"""The second attempt takes so much of the pictures that fitted into memory at the first."""


@click.command(context_settings={"show_default": True})
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("pictures", type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=500, help="Number of pictures.")
@click.option("--input-range", default="0:1", help="Values of pixels 0 and 255.")
@click.option("--threads", default=os.cpu_count() or 1, help="Threads of each side.")
@click.option("--memory-limit", default=0.6, help="Share of the memory that each side may take.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--alone", type=click.Choice((ZQC, ORT)), hidden=True)
def main(
    model: Path,
    pictures: Path,
    count: int,
    input_range: str,
    threads: int,
    memory_limit: float,
    as_json: bool,
    alone: str | None,
) -> None:
    """Calibrate MODEL with both on pictures from below the folder PICTURES."""
    low, high = (float(end) for end in input_range.split(":"))
    input_format = InputFormat(low=(low,), high=(high,))
    if alone:
        limit = int(memory_limit * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        # The data segment: libraries and thread stacks reserve addresses that they never touch.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        run = run_zqc if alone == ZQC else run_ort
        print(json.dumps(run(model, Reader(pictures, count, input_format), threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        crops = Path(folder) / "crops.npy"
        np.save(crops, random_crops(pictures, count, picture_shape(model_file.load(model).model)))

        def measured(side: str, count: int) -> dict[str, float]:
            return in_own_process(
                [str(model), str(crops), "--count", str(count), "--input-range", input_range,
                 "--threads", str(threads), "--memory-limit", str(memory_limit), "--alone", side]
            )  # fmt: skip

        theirs = measured(ORT, count)
        while "seconds" not in theirs:
            theirs = measured(ORT, int(MARGIN * theirs["read"]))
        ours = measured(ZQC, int(theirs["read"]))
        everything = ours if ours["read"] == count else measured(ZQC, count)
    result = {ORT: theirs, ZQC: ours, f"{ZQC}, all pictures": everything}
    if as_json:
        print(json.dumps(result))
        return
    if ours["read"] < count:
        print(f"{ORT} has no room for {count} pictures; compared at {ours['read']:.0f}\n")
    print("|  | pictures | seconds | processor seconds | peak memory (MB) | before the work (MB) |")
    print("|---|---|---|---|---|---|")
    for name, row in result.items():
        print(
            f"| {name} | {row['read']:.0f} | {row['seconds']:.1f} | {row['processor']:.1f} "
            f"| {row['peak']:.0f} | {row['before']:.0f} |"
        )
    print(
        f"\ntime {ours['seconds'] / theirs['seconds']:.2f}, "
        f"processor time {ours['processor'] / theirs['processor']:.2f}, "
        f"peak memory {ours['peak'] / theirs['peak']:.2f} of {ORT}'s"
    )


def random_crops(folder: Path, count: int, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Cut pictures (count, height, width, channels) out of all files, in turn."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    channels, height, width = shape
    rng = np.random.default_rng(0)
    crops = np.empty((count, height, width, channels), np.uint8)
    for index in range(count):
        with Image.open(files[index % len(files)]) as file:
            picture = file.convert("RGB" if channels == 3 else "L")
        size = np.array(picture.size) * rng.uniform(0.4, 1)
        left, top = rng.uniform(0, 1, 2) * (np.array(picture.size) - size)
        box = (left, top, left + size[0], top + size[1])
        pixels = picture.resize((width, height), Image.Resampling.BILINEAR, box)
        crops[index] = np.asarray(pixels).reshape(height, width, channels)
    return crops


class Reader:
    """Reads one picture after another; ONNX Runtime's ``CalibrationDataReader`` by its method."""

    def __init__(self, path: Path, count: int, input_format: InputFormat) -> None:
        header = np.load(path, mmap_mode="r")
        self._shape, self._offset, self._path = header.shape[1:], header.offset, path
        self.count, self.read, self.input_format, self.name = count, 0, input_format, ""

    def picture(self, index: int) -> NDArray[np.float32]:
        """Read one picture 1,C,H,W from the file: a memory map would count as memory."""
        size = int(np.prod(self._shape))
        pixels = np.fromfile(self._path, np.uint8, size, offset=self._offset + index * size)
        return self.input_format.to_tensor(pixels.reshape(1, *self._shape))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next picture for ONNX Runtime."""
        if self.read == self.count:
            return None
        self.read += 1
        return {self.name: self.picture(self.read - 1)}


def run_zqc(path: Path, reader: Reader, threads: int) -> dict[str, float]:
    """Calibrate every quantized tensor."""
    before, started = peak_megabytes(), time.perf_counter()
    model = model_file.load(path).model
    plan = Plan.of(Recipe(input_format=reader.input_format), threads=threads)
    prepared = prepare(model, plan)
    points = points_of(prepared, plan)
    pictures = ImageSet(
        tuple(map(str, range(reader.count))),
        "crops",
        lambda start, stop: (np.concatenate([reader.picture(i) for i in range(start, stop)]), ()),
    )
    with Silent().task("", reader.count) as task:
        calibrate(prepared, points, Batches(pictures, 1), plan, task=task)
    return measured_since(started, reader.count) | {"before": before}


def run_ort(path: Path, reader: Reader, threads: int) -> dict[str, float]:
    """Calibrate as ``quantize_static`` does with CalibrationMethod.Entropy."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationMethod, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
    from onnxruntime.quantization.shape_inference import quant_pre_process

    before, started = peak_megabytes(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        folded, augmented = Path(folder) / "folded.onnx", Path(folder) / "augmented.onnx"
        quant_pre_process(str(path), str(folded), skip_symbolic_shape=True)
        calibrator = create_calibrator(
            folded,
            sorted({*QLinearOpsRegistry, *QDQRegistry}),
            augmented_model_path=str(augmented),
            calibrate_method=CalibrationMethod.Entropy,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # As the calibrator makes its own session, but for the number of threads.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        calibrator.infer_session = onnxruntime.InferenceSession(
            str(augmented), options, providers=["CPUExecutionProvider"]
        )
        reader.name = calibrator.infer_session.get_inputs()[0].name
        try:
            calibrator.collect_data(reader)
            calibrator.compute_data()
        except Exception as error:  # out of memory has several faces
            if "alloc" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            return {"read": reader.read}
    return measured_since(started, reader.count) | {"before": before}


def measured_since(started: float, count: int) -> dict[str, float]:
    """What the process has taken, once it is done."""
    return {
        "read": count,
        "seconds": time.perf_counter() - started,
        "processor": time.process_time(),
        "peak": peak_megabytes(),
    }


def in_own_process(arguments: list[str]) -> dict[str, float]:
    """Run this module with other arguments; the last line of its output is the result."""
    command = [sys.executable, "-m", __spec__.name, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
