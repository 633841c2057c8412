"""Running the exported file on labelled pictures, and COCO's average precision."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnxruntime
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

LEAST_SCORE = 0.001
LARGEST_IOU = 0.7
MOST_DETECTIONS = 100


@dataclass(frozen=True)
class Precision:
    """Average precision over IoU 0.50:0.95, at 0.50, and per class in the order of the file."""

    mean: float
    at_50: float
    per_class: dict[str, float]


def evaluate(model: Path, labels: Path, *, threads: int = 2, batch: int = 20) -> Precision:
    """Average precision of an ONNX detector on the pictures in the folder beside `labels`."""
    for path in (model, labels):
        if not path.is_file():
            raise click.ClickException(f"{path} is missing")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pictures = json.loads(labels.read_text())["images"]
    detections = []
    for first in range(0, len(pictures), batch):
        part = pictures[first : first + batch]
        images = np.stack([_read(labels.with_suffix("") / p["file_name"]) for p in part])
        for picture, output in zip(part, session.run(None, {name: images})[0], strict=True):
            detections += _detections(picture["id"], output)
    with contextlib.redirect_stdout(io.StringIO()):  # the library prints its progress
        truth = COCO(labels)
        evaluator = COCOeval_faster(truth, truth.loadRes(detections), "bbox")
        evaluator.run()
    table = evaluator.eval["precision"][..., 0, -1]  # IoU x recall x class, all areas
    names = [category["name"] for category in truth.loadCats(truth.getCatIds())]
    per_class = {
        name: float(column[column > -1].mean())
        for name, column in zip(names, np.moveaxis(table, -1, 0), strict=True)
    }
    return Precision(float(evaluator.stats[0]), float(evaluator.stats[1]), per_class)


def _read(path: Path) -> np.ndarray:
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)) / np.float32(255)


def _detections(picture: int, output: np.ndarray) -> list[dict[str, object]]:
    """COCO results of one picture from (4 + classes, A)."""
    centre, size, scores = output[:2].T, output[2:4].T, output[4:]
    corners = np.concatenate((centre - size / 2, centre + size / 2), axis=1)
    found: list[tuple[float, int, np.ndarray]] = []
    for label, row in enumerate(scores):
        candidates = np.flatnonzero(row > LEAST_SCORE)
        candidates = candidates[np.argsort(-row[candidates], kind="stable")]
        for index in _suppress(corners[candidates]):
            kept = candidates[index]
            found.append((float(row[kept]), label, corners[kept]))
    found.sort(key=lambda entry: -entry[0])
    return [
        {
            "image_id": picture,
            "category_id": label,
            "score": score,
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
        }
        for score, label, box in found[:MOST_DETECTIONS]
    ]


def _suppress(boxes: np.ndarray) -> list[int]:
    """Greedy non-maximum suppression of boxes (K, 4) sorted by falling score."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    overlapping = shared > LARGEST_IOU * (area[:, None] + area[None] - shared)
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if alive[index]:
            kept.append(index)
            alive &= ~overlapping[index]
    return kept
