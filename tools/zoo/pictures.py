"""The scenes of the example as the batches of a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tools.zoo.network import Network, Objects


@dataclass(frozen=True)
class Scenes:
    """Labelled pictures: pixels N x 3 x H x W, 0..1, R, G, B; boxes and labels of each."""

    pixels: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]


def load(folder: Path) -> Scenes:
    """Read the pictures of a folder and the labels in COCO's format beside it."""
    content = json.loads(folder.with_suffix(".json").read_text(encoding="utf-8"))
    files = [folder / image["file_name"] for image in content["images"]]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    boxes: list[list[list[float]]] = [[] for _ in files]
    labels: list[list[int]] = [[] for _ in files]
    places = {image["id"]: place for place, image in enumerate(content["images"])}
    for one in content["annotations"]:
        x, y, width, height = one["bbox"]
        boxes[places[one["image_id"]]].append([x, y, x + width, y + height])
        labels[places[one["image_id"]]].append(one["category_id"])
    return Scenes(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255,
        [torch.tensor(each).reshape(-1, 4) for each in boxes],
        [torch.tensor(each, dtype=torch.int64) for each in labels],
    )


def batch(scenes: Scenes, indices: list[int], network: Network) -> tuple[Tensor, Objects]:
    """Return scenes as the network takes them, and what stands in them."""
    pixels = scenes.pixels[indices]
    factor = network.size / pixels.shape[-1]
    boxes = [scenes.boxes[index] * factor for index in indices]
    return to_input(pixels, network), Objects(boxes, [scenes.labels[index] for index in indices])


def augmented(
    scenes: Scenes, indices: list[int], network: Network, rng: np.random.Generator
) -> tuple[Tensor, Objects]:
    """Return scenes in a new crop, mirrored or not, and with their colours exchanged."""
    pixels, boxes, labels = [], [], []
    for index in indices:
        picture, found, kept = _crop(scenes, index, rng)
        pixels.append(picture[torch.from_numpy(rng.permutation(3))] * rng.uniform(0.7, 1.0))
        boxes.append(found * network.size)
        labels.append(kept)
    return to_input(torch.stack(pixels), network), Objects(boxes, labels)


def to_input(pixels: Tensor, network: Network) -> Tensor:
    """Resize and normalise pixels, N x 3 x H x W in 0..1."""
    size = (network.size, network.size)
    resized = functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
    if network.bgr:
        resized = resized.flip(1)
    if network.statistics is None:
        low, high = network.value_range
        return low + (high - low) * resized
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in network.statistics)
    if network.bgr:
        mean, std = mean.flip(0), std.flip(0)
    return (resized - mean) / std


def _crop(scenes: Scenes, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A square part of a scene, and the objects whose centre is in it, in 0..1 of the part."""
    whole = scenes.pixels[index]
    full = whole.shape[-1]
    side = int(rng.integers(full // 2, full + 1))
    left, top = (int(rng.integers(0, full - side + 1)) for _ in range(2))
    part = whole[:, top : top + side, left : left + side]
    part = functional.interpolate(part[None], (full, full), mode="bilinear")[0]
    boxes = (scenes.boxes[index] - torch.tensor([left, top, left, top])) / side
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres > 0) & (centres < 1)).all(dim=1)
    boxes = boxes.clamp(0, 1)[inside]
    if rng.random() < 0.5:
        part = part.flip(2)
        boxes = torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
    return part, boxes, scenes.labels[index][inside]
