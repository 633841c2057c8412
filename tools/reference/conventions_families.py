"""What the packages of some detectors make of random outputs, for the tests of the conventions.

python -m tools.reference.conventions_families [FILE]

It needs torchvision, transformers, effdet and OpenCV. The outputs come from a seed and are made
again in the tests; FILE keeps only what is found in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from tools.paths import ROOT

SIZE = 128
CLASSES = 5
THRESHOLD = 0.5
STRIDES = (8, 16, 32, 64, 128)
QUERIES = 16
KEPT = ROOT / "tests" / "zqc" / "detection" / "conventions" / "families.npz"

Arrays = Mapping[str, NDArray[np.float32]]
Found = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.integer]]
"""Boxes (x1, y1, x2, y2) in pixels, scores, and labels from 0, of all above the threshold."""


def random_outputs(family: str) -> dict[str, NDArray[np.float32]]:
    """What the network of a family could give for one picture, always the same."""
    rng = np.random.default_rng(sorted(REFERENCES).index(family))

    def normal(mean: float, deviation: float, *shape: int) -> NDArray[np.float32]:
        return rng.normal(mean, deviation, shape).astype(np.float32)

    cells = sum((SIZE // stride) ** 2 for stride in STRIDES)
    grids = [(SIZE // stride, SIZE // stride) for stride in STRIDES]
    if family == "retinanet":
        columns = CLASSES + 1
        boxes = normal(0, 0.5, 1, 9 * cells, 4)
        return {"cls_logits": normal(-4.2, 1.6, 1, 9 * cells, columns), "bbox_regression": boxes}
    if family == "torchvision-fcos":
        return {
            "cls_logits": normal(-2.5, 1.5, 1, cells, CLASSES + 1),
            "bbox_regression": np.abs(normal(1, 1, 1, cells, 4)),
            "bbox_ctrness": normal(0, 1, 1, cells, 1),
        }
    if family == "efficientdet":
        scores = {
            f"scores{level}": normal(-5, 1.7, 1, 9 * CLASSES, *grid)
            for level, grid in enumerate(grids)
        }
        return scores | {
            f"boxes{level}": normal(0, 0.5, 1, 36, *grid) for level, grid in enumerate(grids)
        }
    if family == "centernet":
        return {
            "hm": normal(-5, 2, 1, CLASSES, 32, 32),
            "wh": np.abs(normal(4, 2, 1, 2, 32, 32)),
            "reg": rng.uniform(0, 1, (1, 2, 32, 32)).astype(np.float32),
        }
    if family == "dbnet":
        return {"map": _texts(rng)}
    columns = CLASSES + (family == "detr")
    boxes = rng.uniform(0.1, 0.9, (1, QUERIES, 4)).astype(np.float32)
    return {"logits": normal(0, 2, 1, QUERIES, columns), "pred_boxes": boxes}


def _texts(rng: np.random.Generator) -> NDArray[np.float32]:
    """A map with bars in several directions, of several brightnesses, two of them touching."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    values = rng.uniform(0, 0.2, (SIZE, SIZE)).astype(np.float32)
    bars = (
        (30, 20, 22, 6, 0.0, 0.9),
        (95, 40, 25, 5, 0.5, 0.8),
        (30, 80, 20, 4, -1.1, 0.95),
        (80, 100, 16, 8, 0.2, 0.5),
        (110, 80, 10, 3, 1.5, 0.7),
        (60, 60, 1, 1, 0.0, 0.9),
    )
    for cx, cy, length, width, angle, level in bars:
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        values[(abs(along) < length) & (abs(across) < width)] = level
    return values[None, None]


def _torchvision(model_name: str, outputs: Arrays) -> Found:
    import torch
    from torch import nn
    from torchvision.models.detection import FCOS, RetinaNet
    from torchvision.models.detection.image_list import ImageList

    backbone = nn.Identity()
    backbone.out_channels = 32
    kind = {"retinanet": RetinaNet, "torchvision-fcos": FCOS}[model_name]
    model = kind(backbone, CLASSES + 1, score_thresh=THRESHOLD, nms_thresh=1.0).eval()
    model.detections_per_img = 10**6
    grids = [torch.zeros(1, 32, SIZE // stride, SIZE // stride) for stride in STRIDES]
    images = ImageList(torch.zeros(1, 3, SIZE, SIZE), [(SIZE, SIZE)])
    anchors = model.anchor_generator(images, grids)
    counts = [grid.shape[2] * grid.shape[3] for grid in grids]
    each = len(anchors[0]) // sum(counts)
    split = {
        name: list(torch.from_numpy(value).split([each * count for count in counts], dim=1))
        for name, value in outputs.items()
    }
    levels = [list(anchors[0].split([each * count for count in counts]))]
    [found] = model.postprocess_detections(split, levels, images.image_sizes)
    kept = found["labels"] > 0  # 0 is background
    boxes, scores, labels = (found[name][kept].numpy() for name in ("boxes", "scores", "labels"))
    return boxes, scores, labels - 1


def _effdet(outputs: Arrays) -> Found:
    import torch
    from effdet.anchors import Anchors, decode_box_outputs
    from effdet.bench import _post_process

    levels = range(len(STRIDES))
    scores, boxes = (
        [torch.from_numpy(outputs[f"{part}{level}"]) for level in levels]
        for part in ("scores", "boxes")
    )
    shapes = [(1.0, 1.0), (1.4, 0.7), (0.7, 1.4)]
    anchors = Anchors(3, 7, 3, shapes, 4.0, (SIZE, SIZE)).boxes
    logits, codes, places, labels = _post_process(scores, boxes, len(STRIDES), CLASSES)
    decoded = decode_box_outputs(codes[0], anchors[places[0]], output_xyxy=True)
    chance = logits[0, :, 0].sigmoid()
    kept = chance > THRESHOLD
    return decoded[kept].numpy(), chance[kept].numpy(), labels[0].reshape(-1)[kept].numpy()


def _transformers(family: str, outputs: Arrays) -> Found:
    from types import SimpleNamespace

    import torch
    from transformers import DetrImageProcessor, RTDetrImageProcessor

    processor = {"detr": DetrImageProcessor, "rt-detr": RTDetrImageProcessor}[family]()
    given = SimpleNamespace(**{name: torch.from_numpy(value) for name, value in outputs.items()})
    sizes = torch.tensor([[SIZE, SIZE]])
    [found] = processor.post_process_object_detection(given, THRESHOLD, sizes)
    boxes, scores, labels = (found[name].numpy() for name in ("boxes", "scores", "labels"))
    return boxes, scores, labels


def _centernet(outputs: Arrays) -> Found:
    """The paper's decoding, in PyTorch: peaks by a MaxPool, the best of them by TopK."""
    import torch
    from torch.nn import functional

    heat, sizes, offsets = (torch.from_numpy(outputs[name]) for name in ("hm", "wh", "reg"))
    heat = heat.sigmoid()
    heat = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat)
    scores, places = heat.reshape(-1).topk(100)
    labels, cells = places // 1024, places % 1024
    centre = torch.stack([cells % 32, cells // 32], 1) + offsets.reshape(2, -1).T[cells]
    half = sizes.reshape(2, -1).T[cells] / 2
    boxes = torch.cat([centre - half, centre + half], 1) * 4
    kept = scores > THRESHOLD
    return boxes[kept].numpy(), scores[kept].numpy(), labels[kept].numpy()


def _opencv(outputs: Arrays) -> Found:
    """DB's post-processing with OpenCV; the corners of a rectangle stand in the place of its box.

    Growing a rectangle by a distance and taking the smallest rectangle around it again moves its
    sides by that distance.
    """
    import cv2

    values = outputs["map"][0, 0]
    mask = (values > 0.3).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    rectangles, scores = [], []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < 3:
            continue
        inside = np.zeros_like(mask)
        corners = cv2.boxPoints((centre, (width, height), angle))
        cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 1)
        score = cv2.mean(values, inside)[0]
        if score < 0.6:
            continue
        grow = 2 * 1.5 * width * height / (2 * (width + height))
        rectangles.append(cv2.boxPoints((centre, (width + grow, height + grow), angle)))
        scores.append(score)
    boxes = np.array(rectangles).reshape(-1, 8)
    return boxes, np.array(scores), np.zeros(len(scores), np.int64)


REFERENCES: dict[str, Callable[[Arrays], Found]] = {
    "retinanet": lambda outputs: _torchvision("retinanet", outputs),
    "torchvision-fcos": lambda outputs: _torchvision("torchvision-fcos", outputs),
    "efficientdet": _effdet,
    "detr": lambda outputs: _transformers("detr", outputs),
    "rt-detr": lambda outputs: _transformers("rt-detr", outputs),
    "centernet": _centernet,
    "dbnet": _opencv,
}
"""By family."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=KEPT)
def main(file: Path) -> None:
    """Write what is found into FILE, best first."""
    kept: dict[str, NDArray[np.float32]] = {}
    for family, reference in REFERENCES.items():
        boxes, scores, labels = reference(random_outputs(family))
        order = np.argsort(-scores, kind="stable")
        columns = [boxes, scores[:, None], labels[:, None]]
        kept[family] = np.concatenate(columns, axis=1)[order].astype(np.float32)
        print(f"{family}: {len(order)} detections")
    np.savez_compressed(file, **kept)


if __name__ == "__main__":
    main()
