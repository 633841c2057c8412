"""Scenes on disk: the pictures that are shipped and the cache that training reads."""

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import click
import numpy as np

from example.photographs import LICENCES
from example.scenes import MOST_OBJECTS, NAMES, SIZE, Assets, Scene, load_assets, make_scene

CHUNK = 256


@dataclass(frozen=True)
class Cache:
    """Decoded training scenes.

    pixels: uint8, N x 3 x SIZE x SIZE, mapped from disk. boxes: float32, N x MOST_OBJECTS x 4
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
    images, annotations, licences = [], [], list(LICENCES)
    for index in range(count):
        scene = make_scene(assets, seed, index)
        name = f"{index:04d}.jpg"
        write_atomically(folder / name, scene.jpeg)
        images.append(
            {
                "id": index,
                "file_name": name,
                "width": SIZE,
                "height": SIZE,
                "license": licences.index(scene.photograph.licence),
                "photograph": Path(scene.photograph.path).name,
                "author": scene.photograph.author,
            }
        )
        for box, label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    labels = {
        "licenses": [
            {"id": number, "name": name, "url": url}
            for number, (name, url) in enumerate(LICENCES.items())
        ],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
    }
    text = json.dumps(labels, separators=(",", ":")) + "\n"
    write_atomically(folder.with_suffix(".json"), text.encode())


def build_cache(
    folder: Path, fashion: Path, photographs: tuple[Path, ...], *, count: int, seed: int
) -> None:
    """Make `count` training scenes in two processes and store them under `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", "w+", np.uint8, (count, 3, SIZE, SIZE)
    )
    boxes = np.zeros((count, MOST_OBJECTS, 4), np.float32)
    labels = np.full((count, MOST_OBJECTS), -1, np.int64)
    make = partial(_chunk, fashion, photographs, seed, count)
    with ProcessPoolExecutor(2) as pool:
        for start, scenes in _numbered(pool.map(make, range(0, count, CHUNK))):
            for index, scene in enumerate(scenes, start):
                pixels[index] = scene.pixels()
                found = len(scene.labels)
                boxes[index, :found] = scene.boxes
                labels[index, :found] = scene.labels
    pixels.flush()
    np.save(folder / "boxes.npy", boxes)
    np.save(folder / "labels.npy", labels)


def open_cache(folder: Path) -> Cache:
    """Open what `build_cache` has written."""
    if not (folder / "labels.npy").is_file():  # the last file that is written
        raise click.ClickException(f"{folder} holds no scenes: run `scenes` first")
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return Cache(pixels, np.load(folder / "boxes.npy"), np.load(folder / "labels.npy"))


@cache  # once in each process: loading takes seconds
def _training_assets(fashion: Path, photographs: tuple[Path, ...]) -> Assets:
    return load_assets("training", fashion, photographs)


def _chunk(
    fashion: Path, photographs: tuple[Path, ...], seed: int, count: int, start: int
) -> list[Scene]:
    assets = _training_assets(fashion, photographs)
    return [make_scene(assets, seed, index) for index in range(start, min(start + CHUNK, count))]


def _numbered(chunks: Iterator[list[Scene]]) -> Iterator[tuple[int, list[Scene]]]:
    return ((number * CHUNK, chunk) for number, chunk in enumerate(chunks))
