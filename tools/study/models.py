"""What compiling does to real detectors: kernels, size, speed, agreement with the float model.

    python -m tools.study.models DIRECTORY_OF_MODELS DIRECTORY_OF_PICTURES

The directory holds ``ssdlite_mnv2_person_bn.onnx``, ``yolov3tiny_coco_bn.onnx`` and
``ppocrv3_det_bn.onnx`` (models that are not there are skipped), the other one ``street`` and
``text``. Calibration is zero-shot: the pictures are synthesised once for both precisions, as
``zqc compile`` makes them; the real ones are only used to compare. Latency is that of one picture
on one thread, both models in turn.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

import zqc
from tools.study.cases import Case, shared_cases
from zqc.recipe.recipe import EFFORTS


@click.command()
@click.argument("models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--effort", default="standard", type=click.Choice(EFFORTS), show_default=True)
def main(models: Path, pictures: Path, effort: str) -> None:
    """Print one row per model and precision."""
    print("| model | bits | integer | size | speed | AP of detections | SQNR |")
    print("|---|---|---|---|---|---|---|")
    for case in shared_cases(models, pictures):
        if not case.model.exists():
            print(f"| {case.name} | not there | | | | | |")
            continue
        with tempfile.TemporaryDirectory() as folder:
            recipe = case.recipe(effort=effort)
            made = zqc.synthesize(case.model, Path(folder) / "pictures", recipe=recipe).directory
            for bits in (8, 4):
                output, images = Path(folder) / "out.onnx", made / "pictures.npz"
                recipe = case.recipe(bits=bits, effort=effort)
                compiled = zqc.compile(case.model, output, recipe=recipe, images=images)
                print(_row(case, compiled), flush=True)


def _row(case: Case, compiled: zqc.CompileResult) -> str:
    checked = case.check(compiled.output)
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
