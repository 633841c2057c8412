"""Scenes as a thermal camera would see them: the same objects at the same places, by their heat.

Temperatures in degrees Celsius go through optics, a noisy sensor and an automatic gain to one
channel of 8 bits. A picture is a function of the layout, the seed and the index alone.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tools.example.scenes import NAMES, SIZE, Layout, Objects, Placed, load_objects, make_layout
from tools.example.store import Example, write_coco

COLDEST_CLASS, WARMEST_CLASS = 25.0, 38.0  # mean temperatures, evenly apart in the order of NAMES
OBJECT_SPREAD = 2.0  # standard deviation of an object's temperature within its class
AMBIENT = (8.0, 20.0)
BLUR = (0.6, 1.3)  # standard deviation of the optics, pixels
STRIPES = (0.03, 0.15)  # of columns: what is left of the fixed pattern after its correction
GRAIN = (0.03, 0.10)  # of single pixels: the part of the fixed pattern without structure
NOISE = (0.08, 0.30)  # temporal
DRIFT = (0.3, 1.5)  # of the sensor, over the whole picture
CLIPPED = (0.5, 99.7)  # percentiles that the automatic gain brings to black and white
LEAST_SPAN = 6.0  # degrees between black and white: empty scenes are not blown up into noise


def render(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """Draw a layout: uint8, SIZE x SIZE."""
    ambient = rng.uniform(*AMBIENT)
    heat = _surroundings(ambient, rng)
    for one in layout.objects:
        patch = heat[one.area]
        patch += one.alpha * (_surface(one, ambient, rng) - patch)
    seen = _blurred(heat, rng.uniform(*BLUR))
    seen += rng.uniform(*STRIPES) * rng.standard_normal((1, SIZE))
    seen += np.hypot(rng.uniform(*GRAIN), rng.uniform(*NOISE)) * rng.standard_normal((SIZE, SIZE))
    seen += rng.uniform(*DRIFT) * _waves(2, rng)
    return _automatic_gain(seen, rng)


def make_picture(objects: Objects, seed: int, index: int) -> tuple[np.ndarray, Layout]:
    """The thermal twin of scene number `index` of a split, and its layout."""
    layout = make_layout(objects, seed, index)
    rng = np.random.default_rng([seed, objects.split == "heldout", index, 1])
    return render(layout, rng), layout


def training_scene(fashion: Path, seed: int, index: int) -> Example:
    """The thermal twin of a training scene, in one channel, for `store.build_cache`."""
    picture, layout = make_picture(_training_objects(fashion), seed, index)
    return picture[None], layout.boxes, layout.labels


def write_labelled(objects: Objects, folder: Path, *, count: int, seed: int) -> None:
    """Write `folder`/0000.png, ... and the labels in COCO's format beside it, `folder`.json."""
    folder.mkdir(parents=True, exist_ok=True)
    images, found = [], []
    for index in range(count):
        name = f"{index:04d}.png"
        picture, layout = make_picture(objects, seed, index)
        Image.fromarray(picture).save(folder / name)
        images.append({"id": index, "file_name": name, "width": SIZE, "height": SIZE})
        found.append((layout.boxes, layout.labels))
    write_coco(folder.with_suffix(".json"), images, found)


@cache  # once in each process: loading takes seconds
def _training_objects(fashion: Path) -> Objects:
    return load_objects("training", fashion)


def _surface(one: Placed, ambient: float, rng: np.random.Generator) -> np.ndarray:
    """Temperatures of an object: warm where it is bright to the eye, cooler in its folds."""
    warmth = (WARMEST_CLASS - COLDEST_CLASS) / (len(NAMES) - 1)
    body = COLDEST_CLASS + warmth * one.label + OBJECT_SPREAD * rng.standard_normal()
    kept = rng.uniform(0.35, 0.7)
    return ambient + (body - ambient) * (kept + (1 - kept) * one.shade)


def _surroundings(ambient: float, rng: np.random.Generator) -> np.ndarray:
    """Temperatures of what lies behind: a cold sky, slow variation and a few warm patches."""
    height = np.linspace(-0.5, 0.5, SIZE)[:, None]
    heat = ambient + rng.uniform(-2, 8) * height + np.zeros((1, SIZE))
    for cells in (3, 6, 12, 24):
        heat += rng.uniform(2, 9) / cells * _waves(cells, rng)
    y, x = np.mgrid[:SIZE, :SIZE]
    for _ in range(rng.integers(0, 5)):
        centre_x, centre_y = rng.uniform(0, SIZE, 2)
        angle = rng.uniform(0, np.pi)
        along = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
        across = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
        length, width = rng.uniform(5, 60, 2)
        outside = np.maximum(np.abs(along) - length, np.abs(across) - width)
        heat += rng.uniform(-4, 7) * np.clip(0.5 - outside / rng.uniform(1, 12), 0, 1)
    return heat


def _waves(cells: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth field of unit size, with so many cells from side to side."""
    grid = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _blurred(heat: np.ndarray, sigma: float) -> np.ndarray:
    taps = np.exp(-0.5 * (np.arange(-4, 5) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        wide = np.pad(heat, [(4, 4) if side == axis else (0, 0) for side in (0, 1)], "edge")
        heat = np.lib.stride_tricks.sliding_window_view(wide, len(taps), axis) @ taps
    return heat


def _automatic_gain(seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stretch over the percentiles, with a gain and an offset that lag behind the scene."""
    low, high = np.percentile(seen, CLIPPED)
    span = max(high - low, LEAST_SPAN) * rng.uniform(1.0, 1.3)
    black = low - rng.uniform(0.0, 0.15) * span
    return np.clip(np.rint(255 * (seen - black) / span), 0, 255).astype(np.uint8)
