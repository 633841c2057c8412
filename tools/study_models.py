"""What compiling does to real detectors: kernels, size, speed, agreement with the float model.

    python tools/study_models.py DIRECTORY_OF_MODELS DIRECTORY_OF_PICTURES

The directory holds ``ssdlite_mnv2_person_bn.onnx``, ``yolov3tiny_coco_bn.onnx`` and
``ppocrv3_det_bn.onnx`` (models that are not there are skipped), the other one ``street`` and
``text``. Calibration is zero-shot: the pictures are synthesised once for both precisions, as
``zqc compile`` makes them; the real ones are only used to compare. Latency is that of one picture
on one thread, both models in turn.
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

    def recipe(self, bits: int, effort: str) -> zqc.Recipe:
        """Return the recipe of one precision."""
        return zqc.Recipe(
            bits=bits, input_format=self.input_format, input_shape=self.input_shape, effort=effort
        )


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
        with tempfile.TemporaryDirectory() as folder:
            recipe = case.recipe(8, effort)
            synthetic = zqc.synthesize(source, Path(folder) / "pictures", recipe=recipe).directory
            for bits in (8, 4):
                recipe = case.recipe(bits, effort)
                output = Path(folder) / "out.onnx"
                calibration = synthetic / "pictures.npz"
                compiled = zqc.compile(source, output, recipe=recipe, images=calibration)
                print(_row(case, source, compiled, models, pictures / case.pictures), flush=True)


def _row(
    case: Case, source: Path, compiled: zqc.CompileResult, models: Path, pictures: Path
) -> str:
    checked = zqc.check(
        source,
        compiled.output,
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
