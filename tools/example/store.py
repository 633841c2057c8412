"""Scenes on disk: the pictures that are shipped and the cache that training reads."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np

from tools.example.photographs import LICENCES
from tools.example.scenes import MOST_OBJECTS, NAMES, SIZE, Assets, load_assets, make_scene

CHUNK = 256

Example = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pixels (uint8, C x SIZE x SIZE), boxes (x1, y1, x2, y2 in pixels) and labels of a scene."""


@dataclass(frozen=True)
class Cache:
    """Decoded training scenes.

    pixels: uint8, N x C x SIZE x SIZE, mapped from disk. boxes: float32, N x MOST_OBJECTS x 4
    (x1, y1, x2, y2 in pixels). labels: int64, N x MOST_OBJECTS, -1 where there is no object.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees either the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_labelled(assets: Assets, folder: Path, *, count: int, seed: int) -> None:
    """Write `folder`/0000.jpg, ... and the labels in COCO's format beside it, `folder`.json."""
    licences = list(LICENCES)
    scenes = [make_scene(assets, seed, index) for index in range(count)]
    for index, scene in enumerate(scenes):
        write_atomically(folder / f"{index:04d}.jpg", scene.jpeg)
    images = [
        {
            "id": index,
            "file_name": f"{index:04d}.jpg",
            "width": SIZE,
            "height": SIZE,
            "license": licences.index(scene.photograph.licence),
            "photograph": Path(scene.photograph.path).name,
            "author": scene.photograph.author,
        }
        for index, scene in enumerate(scenes)
    ]
    names = [
        {"id": number, "name": name, "url": url}
        for number, (name, url) in enumerate(LICENCES.items())
    ]
    objects = [(scene.boxes, scene.labels) for scene in scenes]
    write_coco(folder.with_suffix(".json"), images, objects, licenses=names)


def write_coco(
    path: Path,
    images: list[dict[str, object]],
    objects: list[tuple[np.ndarray, np.ndarray]],
    **more: object,
) -> None:
    """Write labels in COCO's format: boxes (x1, y1, x2, y2) and labels of each of the images."""
    annotations: list[dict[str, object]] = []
    for image, (boxes, labels) in zip(images, objects, strict=True):
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    content = {
        **more,
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
    }
    write_atomically(path, (json.dumps(content, separators=(",", ":")) + "\n").encode())


def build_cache(folder: Path, make: Callable[[int], Example], *, count: int, channels: int) -> None:
    """Make `count` training scenes in two processes and store them under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", "w+", np.uint8, (count, channels, SIZE, SIZE)
    )
    boxes = np.zeros((count, MOST_OBJECTS, 4), np.float32)
    labels = np.full((count, MOST_OBJECTS), -1, np.int64)
    with ProcessPoolExecutor(2) as pool:
        for index, example in enumerate(pool.map(make, range(count), chunksize=CHUNK)):
            pixels[index], found_boxes, found_labels = example
            boxes[index, : len(found_labels)] = found_boxes
            labels[index, : len(found_labels)] = found_labels
    pixels.flush()
    np.save(folder / "boxes.npy", boxes)
    np.save(folder / "labels.npy", labels)


def open_cache(folder: Path) -> Cache:
    """Open what `build_cache` has written."""
    if not (folder / "labels.npy").is_file():  # the last file that is written
        raise click.ClickException(f"{folder} holds no scenes: run `scenes` first")
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return Cache(pixels, np.load(folder / "boxes.npy"), np.load(folder / "labels.npy"))


def training_scene(fashion: Path, photographs: tuple[Path, ...], seed: int, index: int) -> Example:
    """Training scene number `index`, for `build_cache`."""
    scene = make_scene(_training_assets(fashion, photographs), seed, index)
    return scene.pixels(), scene.boxes, scene.labels


@cache  # once in each process: loading takes seconds
def _training_assets(fashion: Path, photographs: tuple[Path, ...]) -> Assets:
    return load_assets("training", fashion, photographs)
