"""What compiling does to real detectors: kernels, size, speed, agreement with the float model.

    python tools/study_models.py DIRECTORY_OF_MODELS DIRECTORY_OF_PICTURES

The directory holds ``ssdlite_mnv2_person_bn.onnx``, ``yolov3tiny_coco_bn.onnx`` and
``ppocrv3_det_bn.onnx`` (models that are not there are skipped), the other one ``street`` and
``text``. Calibration is zero-shot; the pictures are only used to compare. Latency is that of one
picture on one thread, both models in turn.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

import zqc
from zqc.recipe import EFFORTS


@dataclass(frozen=True)
class Case:
    """A model with the options that it needs."""

    name: str
    pictures: str
    input_format: zqc.InputFormat
    input_shape: tuple[int, int] | None = None
    anchors: str | None = None


IMAGENET = zqc.InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), bgr=True)
CASES = (
    Case(
        "ssdlite_mnv2_person_bn",
        "street",
        zqc.InputFormat.from_range(-1, 1),
        anchors="ssdlite_mnv2_person_anchors.npy",
    ),
    Case("yolov3tiny_coco_bn", "street", zqc.InputFormat()),
    Case("ppocrv3_det_bn", "text", IMAGENET, (320, 320)),
)


@click.command()
@click.argument("models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), show_default=True)
def main(models: Path, pictures: Path, effort: str) -> None:
    """Print one row per model and precision."""
    print("| model | bits | integer | size | speed | AP of detections | SQNR |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        source = models / f"{case.name}.onnx"
        if not source.exists():
            print(f"| {case.name} | not there | | | | | |")
            continue
        for bits in (8, 4):
            print(_row(case, source, models, pictures / case.pictures, bits, effort), flush=True)


def _row(case: Case, source: Path, models: Path, pictures: Path, bits: int, effort: str) -> str:
    recipe = zqc.Recipe(
        bits=bits, input_format=case.input_format, input_shape=case.input_shape, effort=effort
    )
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.onnx"
        compiled = zqc.compile(source, output, recipe=recipe)
        checked = zqc.check(
            source,
            output,
            images=pictures,
            anchors=models / case.anchors if case.anchors else None,
            input_format=case.input_format,
            input_shape=case.input_shape,
        )
    agreement = f"{checked.agreement.ap:.3f}" if checked.agreement else "–"
    parts = ", ".join(f"{part.part} {part.sqnr_db:.1f} dB" for part in checked.parts)
    return (
        f"| {case.name} | {compiled.precision} "
        f"| {compiled.integer_layers}/{len(compiled.layers)} "
        f"| {compiled.bytes_after / compiled.bytes_before:.3f} "
        f"| {compiled.latency_before_ms / compiled.latency_after_ms:.2f} × "
        f"| {agreement} | {parts} |"
    )


if __name__ == "__main__":
    main()
