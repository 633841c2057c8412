"""Average precision of two models as zqc measures it, and as pycocotools does from the label file.

    python -m tools.example.independent_ap FLOAT QUANTIZED [--images DIR --labels JSON]

Only the detections are zqc's; pycocotools reads the labels and evaluates by itself.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import click
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import zqc
from tools.paths import SCENES
from zqc.detection.detections import Detections

FILE = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("float_model", type=FILE)
@click.argument("quantized", type=FILE)
@click.option("--images", type=FILE, default=SCENES / "heldout", show_default=True)
@click.option("--labels", type=FILE, default=SCENES / "heldout.json", show_default=True)
def main(float_model: Path, quantized: Path, images: Path, labels: Path) -> None:
    """Print AP, AP50 and AP75 by both, and how far they are apart."""
    result = zqc.check(float_model, quantized, images=images, labels=labels)
    shown, classes = result.shown, result.classes
    sides = (
        ("float", result.accuracy_float, shown.comparison.reference),
        ("quantized", result.accuracy_quantized, shown.comparison.quantized),
    )
    for name, accuracy, found in sides:
        ours = (accuracy.ap, accuracy.ap50, accuracy.ap75)
        theirs = evaluated(labels, shown.pictures.names, found, classes)
        apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        said = ", ".join(f"{a:.9f} {b:.9f}" for a, b in zip(ours, theirs, strict=True))
        print(f"{name}: AP, AP50, AP75 by zqc and by pycocotools: {said}; apart by {apart:.1e}")


def evaluated(
    labels: Path, names: Sequence[str], found: Sequence[Detections], classes: Sequence[str]
) -> tuple[float, float, float]:
    """AP, AP50 and AP75 by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(labels))
        pictures = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
        categories = {entry["name"]: entry["id"] for entry in truth.dataset["categories"]}
        rows = [
            {
                "image_id": pictures[name],
                "category_id": categories[classes[label]],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            for name, one in zip(names, found, strict=True)
            for (x1, y1, x2, y2), score, label in zip(
                one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True
            )
        ]
        evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75 = map(float, evaluation.stats[:3])
    return ap, ap50, ap75


if __name__ == "__main__":
    main()
