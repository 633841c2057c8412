"""What the YOLOs' own post-processing makes of random outputs: the reference of the conventions.

    python -m tools.reference.conventions_yolo tests/zqc/detection/conventions/yolo_reference.npz

It runs where torch, torchvision and ultralytics are installed (AGPL-3.0: run here, never copied).
Inputs are 64 x 64, for grids of 8, 16 and 32 pixels and so 84 cells, or 32 x 32 with 21. What
ultralytics has no code for, objectness and raw YOLOv3 and YOLOX heads, is written out in torch and
suppressed by torchvision.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

SCORE, IOU = 0.05, 0.5
STRIDES = (8, 16, 32)
YOLOV3 = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}


class Random:
    """Arrays that a file of half precision holds exactly."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        """Normal numbers."""
        values = self.rng.normal(mean, scale, shape)
        return torch.from_numpy(values.astype(np.float16).astype(np.float32))

    def boxes(self, size: int, cells: int) -> Tensor:
        """Centres and sizes (1, 4, cells) within an input of some size."""
        centre = self.rng.uniform(0.1 * size, 0.9 * size, (1, 2, cells))
        extent = self.rng.uniform(0.1 * size, 0.5 * size, (1, 2, cells))
        values = np.concatenate([centre, extent], axis=1)
        return torch.from_numpy(values.astype(np.float16).astype(np.float32))

    def scores(self, *shape: int) -> Tensor:
        """Numbers in 0...1, most of them small."""
        values = self.rng.uniform(0, 1, shape) ** 6
        return torch.from_numpy(values.astype(np.float16).astype(np.float32))


def suppressed(prediction: Tensor, classes: int, **options: bool) -> Tensor:
    """The package's own non-maximum suppression of one picture."""
    from ultralytics.utils.nms import non_max_suppression

    (found,) = non_max_suppression(
        prediction.clone(), SCORE, IOU, nc=classes, multi_label=True, **options
    )
    return found


def by_torchvision(boxes: Tensor, scores: Tensor) -> Tensor:
    """Rows (x1, y1, x2, y2, score, class) of boxes (n, 4: centre, size) and scores (n, classes)."""
    from torchvision.ops import batched_nms, box_convert

    rows, labels = torch.where(scores > SCORE)
    corners, best = box_convert(boxes, "cxcywh", "xyxy")[rows], scores[rows, labels]
    kept = batched_nms(corners, best, labels, IOU)
    return torch.cat([corners[kept], best[kept, None], labels[kept, None].float()], dim=1)


def cells(size: int) -> tuple[Tensor, Tensor]:
    """Column and row of every cell (n, 2), and its stride (n, 1)."""
    places, strides = [], []
    for stride in STRIDES:
        side = size // stride
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        places.append(torch.stack([columns, rows], dim=-1).reshape(-1, 2))
        strides.append(torch.full((side * side, 1), stride))
    return torch.cat(places).float(), torch.cat(strides).float()


def ultralytics_heads(random: Random) -> dict[str, Tensor]:
    """Detection, poses, rotated boxes, masks, raw heads, and selected rows."""
    from ultralytics.nn.modules.block import DFL
    from ultralytics.utils.ops import process_mask, xywhr2xyxyxyxy
    from ultralytics.utils.tal import dist2bbox, make_anchors

    made = {}
    detect = torch.cat([random.boxes(64, 84), random.scores(1, 3, 84)], dim=1)
    made |= {"detect": detect, "detect_found": suppressed(detect, 3)}

    points = random.normal(1, 15, 84, scale=20, mean=32)
    pose = torch.cat([random.boxes(64, 84), random.scores(1, 2, 84), points], dim=1)
    made |= {"pose": pose, "pose_found": suppressed(pose, 2)}

    angle = random.normal(1, 1, 84)
    obb = torch.cat([random.boxes(64, 84), random.scores(1, 2, 84), angle], dim=1)
    obb[:, 4:6, 28:] = 0  # few enough that their way, by any better box, drops what ours does
    found = suppressed(obb, 2, rotated=True)
    corners = xywhr2xyxyxyxy(torch.cat([found[:, :4], found[:, 6:]], dim=1))
    made |= {"obb": obb, "obb_found": found, "obb_corners": corners}

    coefficients, prototypes = random.normal(1, 8, 84), random.normal(1, 8, 16, 16)
    segment = torch.cat([random.boxes(64, 84), random.scores(1, 2, 84), coefficients], dim=1)
    found = suppressed(segment, 2)
    masks = process_mask(prototypes[0], found[:, 6:], found[:, :4], (64, 64))
    made |= {"segment": segment, "prototypes": prototypes}
    made |= {"segment_found": found[:, :6], "segment_masks": masks.bool()}

    bins, logits = random.normal(1, 64, 21, scale=2), random.normal(1, 3, 21, scale=2, mean=-2)
    grids = [torch.zeros(1, 1, 32 // stride, 32 // stride) for stride in STRIDES]
    middles, strides = make_anchors(grids, torch.tensor(STRIDES))
    boxes = dist2bbox(DFL()(bins), middles.T[None], dim=1) * strides.T
    made |= {"raw_bins": bins, "raw_logits": logits}
    made["raw_found"] = suppressed(torch.cat([boxes, logits.sigmoid()], dim=1), 3)

    selected = torch.zeros(1, 12, 6)
    selected[0, :7] = made["detect_found"][:7].half().float()
    made |= {"selected": selected, "selected_found": suppressed(selected, 3, end2end=True)}
    return made


def objectness_heads(random: Random) -> dict[str, Tensor]:
    """YOLOv5 decoded, YOLOX raw and YOLOv3 raw."""
    made = {}
    decoded = torch.cat([random.boxes(32, 63), random.scores(1, 4, 63) ** 0.5], dim=1)
    decoded = decoded.half().float().transpose(1, 2)
    scores = decoded[0, :, 4:5] * decoded[0, :, 5:]
    made |= {"yolov5": decoded, "yolov5_found": by_torchvision(decoded[0, :, :4], scores)}

    yolox = torch.cat([random.normal(1, 21, 4), random.scores(1, 21, 4) ** 0.5], dim=2)
    yolox = yolox.half().float()
    places, strides = cells(32)
    boxes = torch.cat([yolox[0, :, :2] + places, yolox[0, :, 2:4].exp()], dim=1) * strides
    made["yolox"] = yolox
    made["yolox_found"] = by_torchvision(boxes, yolox[0, :, 4:5] * yolox[0, :, 5:])

    boxes, scores = [], []
    for stride in STRIDES:
        side = 32 // stride
        head = random.normal(1, 21, side, side, mean=-0.5)
        made[f"yolov3_{stride}"] = head
        one = head[0].reshape(3, 7, side * side).transpose(1, 2)
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        place = torch.stack([columns, rows], dim=-1).reshape(-1, 2)
        anchors = torch.tensor(YOLOV3[stride]).float()[:, None]
        centre, size = (one[..., :2].sigmoid() + place) * stride, one[..., 2:4].exp() * anchors
        boxes.append(torch.cat([centre, size], dim=-1).reshape(-1, 4))
        scores.append((one[..., 4:5].sigmoid() * one[..., 5:].sigmoid()).reshape(-1, 2))
    made["yolov3_found"] = by_torchvision(torch.cat(boxes), torch.cat(scores))
    return made


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def main(file: Path) -> None:
    """Write the outputs and what is found in them into FILE, an .npz."""
    random = Random(3)
    made = ultralytics_heads(random) | objectness_heads(random)
    arrays = {
        name: array.numpy() if "found" in name or "corners" in name else array.half().numpy()
        for name, array in made.items()
    }
    arrays["segment_masks"] = np.packbits(made["segment_masks"].numpy(), axis=-1)
    np.savez_compressed(file, **arrays)
    for name, array in made.items():
        click.echo(f"{name}: {' x '.join(map(str, array.shape))}")


if __name__ == "__main__":
    main()
