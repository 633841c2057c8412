"""Scenes: Fashion-MNIST objects, tinted and pasted over crops of photographs.

A scene is a function of (seed, split, index) alone, so scenes may be made in any order and in any
number of processes. Training scenes use the objects of the train files and held-out scenes those
of the t10k files.
"""

import colorsys
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from tools.example import photographs
from tools.example.photographs import Photograph

SIZE = 192
NAMES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
JPEG_QUALITY = 90
MOST_OBJECTS = 6
LONG_SIDES = (26.0, 96.0)  # of an object before it is turned, pixels
MOST_COVERED = 0.08  # of the smaller of two boxes
MASK_LEVEL = 0.42  # of the blurred mask: at a half, thin straps would vanish
EDGE = 1.5  # width of the soft edge of an object, scene pixels
DARKEST_VISIBLE = 16  # grey value from which a pixel of Fashion-MNIST belongs to the object


PHOTOGRAPHS = {"training": photographs.TRAINING, "heldout": photographs.HELDOUT}


@dataclass(frozen=True)
class Objects:
    """What is pasted in the scenes of one split.

    grey: uint8, N x 28 x 28. masks: uint8 0 or 255, same shape. labels: int, N.
    """

    split: str
    grey: np.ndarray
    masks: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Assets:
    """What the scenes of one split are made of."""

    objects: Objects
    backgrounds: list[Image.Image]


@dataclass(frozen=True)
class Framing:
    """The crop of a photograph and its light.

    zoom, x and y lie in 0..1: from the smallest crop to the largest, from one side to the other.
    """

    photograph: int
    zoom: float
    x: float
    y: float
    mirrored: bool
    colour: float
    brightness: float


@dataclass(frozen=True)
class Placed:
    """An object where it stands in a scene.

    x, y: its corner in pixels. colours: float32, h x w x 3, 0..255. shade: float32, h x w, 0..1,
    its grey values before they are tinted. alpha: float32, h x w, 0..1, its soft mask.
    """

    x: int
    y: int
    colours: np.ndarray
    shade: np.ndarray
    alpha: np.ndarray
    label: int

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the scene."""
        height, width = self.alpha.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


@dataclass(frozen=True)
class Layout:
    """A scene before it is rendered. boxes: float32, M x 4 (x1, y1, x2, y2). labels: int64, M."""

    framing: Framing
    objects: tuple[Placed, ...]
    boxes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Scene:
    """A picture as the bytes of a JPEG file and its boxes (x1, y1, x2, y2 in pixels)."""

    jpeg: bytes
    boxes: np.ndarray
    labels: np.ndarray
    photograph: Photograph

    def pixels(self) -> np.ndarray:
        """The decoded picture: uint8, 3 x SIZE x SIZE, RGB."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg))).transpose(2, 0, 1)


def load_objects(split: str, fashion: Path) -> Objects:
    """Load what `make_layout` needs for the split "training" or "heldout"."""
    prefix = {"training": "train", "heldout": "t10k"}[split]
    grey = _read_idx(fashion / f"{prefix}-images-idx3-ubyte.gz", header=16).reshape(-1, 28, 28)
    labels = _read_idx(fashion / f"{prefix}-labels-idx1-ubyte.gz", header=8).astype(int)
    return Objects(split, grey, _silhouettes(grey), labels)


def load_assets(split: str, fashion: Path, folders: tuple[Path, ...]) -> Assets:
    """Load what `make_scene` needs for the split "training" or "heldout"."""
    return Assets(load_objects(split, fashion), photographs.load(PHOTOGRAPHS[split], folders))


def make_layout(objects: Objects, seed: int, index: int) -> Layout:
    """Place what is seen in scene number `index` of a split: no photograph is needed for it."""
    rng = np.random.default_rng([seed, objects.split == "heldout", index])
    framing = _framing(len(PHOTOGRAPHS[objects.split]), rng)
    placed: list[Placed] = []
    boxes: list[np.ndarray] = []
    for _ in range(rng.integers(1, MOST_OBJECTS + 1)):
        which = int(rng.integers(len(objects.labels)))
        colours, shade, alpha = _sprite(objects.grey[which], objects.masks[which], rng)
        height, width = alpha.shape
        corner = _free_corner(width, height, boxes, rng)
        if corner is None:
            continue
        x, y = corner
        placed.append(Placed(x, y, colours, shade, alpha, int(objects.labels[which])))
        boxes.append(np.array([x, y, x, y]) + _tight_box(alpha))
    return Layout(
        framing,
        tuple(placed),
        np.array(boxes, np.float32),
        np.array([one.label for one in placed], np.int64),
    )


def make_scene(assets: Assets, seed: int, index: int) -> Scene:
    """Make scene number `index` of a split."""
    layout = make_layout(assets.objects, seed, index)
    behind = layout.framing.photograph
    canvas = _background(assets.backgrounds[behind], layout.framing)
    for one in layout.objects:
        patch = canvas[one.area]
        patch += one.alpha[:, :, None] * (one.colours - patch)
    picture = Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return Scene(
        file.getvalue(), layout.boxes, layout.labels, PHOTOGRAPHS[assets.objects.split][behind]
    )


def _read_idx(path: Path, *, header: int) -> np.ndarray:
    if not path.is_file():
        raise click.ClickException(
            f"{path} is missing: install Fashion-MNIST with `apt-get install "
            "dataset-fashion-mnist`, or name the folder of its four files with --fashion"
        )
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def _silhouettes(objects: np.ndarray) -> np.ndarray:
    """Everything that cannot be reached from the border over dark pixels, as 0 or 255."""
    dark = np.pad(objects < DARKEST_VISIBLE, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    outside = np.zeros_like(dark)
    outside[:, [0, -1], :] = True
    outside[:, :, [0, -1]] = True
    while True:
        grown = outside.copy()
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown[:, :, 1:] |= outside[:, :, :-1]
        grown[:, :, :-1] |= outside[:, :, 1:]
        grown &= dark
        if np.array_equal(grown, outside):
            return np.where(outside[:, 1:-1, 1:-1], 0, 255).astype(np.uint8)
        outside = grown


def _framing(count: int, rng: np.random.Generator) -> Framing:
    return Framing(
        photograph=int(rng.integers(count)),
        zoom=rng.random(),
        x=rng.random(),
        y=rng.random(),
        mirrored=rng.random() < 0.5,
        colour=rng.uniform(0.5, 1.2),
        brightness=rng.uniform(0.6, 1.2),
    )


def _background(picture: Image.Image, framing: Framing) -> np.ndarray:
    smallest, largest = np.log(SIZE), np.log(min(picture.size))
    side = np.exp(smallest + (largest - smallest) * framing.zoom)
    x, y = (
        share * (length - side)
        for share, length in zip((framing.x, framing.y), picture.size, strict=True)
    )
    crop = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    if framing.mirrored:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    crop = ImageEnhance.Color(crop).enhance(framing.colour)
    crop = ImageEnhance.Brightness(crop).enhance(framing.brightness)
    return np.array(crop, np.float32)


def _sprite(
    grey: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours, shade and soft mask of an object, as `Placed` describes them."""
    left, top, right, bottom = _tight_box(mask / 255.0).astype(int)
    frame = (left - 1, top - 1, right + 1, bottom + 1)
    long_side = np.exp(rng.uniform(*np.log(LONG_SIDES)))
    factor = long_side / max(right - left, bottom - top)
    size = tuple(max(4, round(factor * (frame[i + 2] - frame[i]))) for i in (0, 1))
    angle = rng.uniform(-15, 15)
    flipped = rng.random() < 0.5

    def shaped(plane: np.ndarray) -> np.ndarray:
        box = tuple(edge + 2 for edge in frame)
        picture = Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC, box=box)
        if flipped:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        picture = picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        return np.asarray(picture, np.float32) / 255

    # Blurred first, or the 28 pixel steps of the mask show as stairs on large objects.
    blurred = np.asarray(Image.fromarray(np.pad(mask, 2)).filter(ImageFilter.GaussianBlur(0.7)))
    edge_gain = max(1.0, factor / EDGE)
    alpha = np.clip((shaped(blurred) - MASK_LEVEL) * edge_gain + 0.5, 0, 1)
    shade = np.clip(shaped(np.pad(grey, 2)) / max(float(grey.max()) / 255, 0.1), 0, 1)
    hue, saturation = rng.random(), rng.uniform(0.0, 0.85)
    tint = np.array(colorsys.hsv_to_rgb(hue, saturation, 1.0), np.float32)
    light, dark = rng.uniform(150, 255), rng.uniform(5, 50)
    rgb = dark + (light - dark) * shade[:, :, None] ** rng.uniform(0.8, 1.3)
    return (rgb * tint).astype(np.float32), shade, alpha.astype(np.float32)


def _tight_box(alpha: np.ndarray) -> np.ndarray:
    """x1, y1, x2, y2 around the pixels that are more object than background."""
    rows = np.flatnonzero((alpha > 0.5).any(axis=1))
    columns = np.flatnonzero((alpha > 0.5).any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _free_corner(
    width: int, height: int, boxes: list[np.ndarray], rng: np.random.Generator
) -> tuple[int, int] | None:
    """A corner where the object hides little of the others and little of it is hidden."""
    for _ in range(20):
        x = int(rng.integers(0, SIZE - width + 1))
        y = int(rng.integers(0, SIZE - height + 1))
        box = np.array([x, y, x + width, y + height], np.float32)
        if all(_covered(box, other) <= MOST_COVERED for other in boxes):
            return x, y
    return None


def _covered(one: np.ndarray, other: np.ndarray) -> float:
    """The intersection of two boxes over the area of the smaller one."""
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    smaller = min(np.prod(one[2:] - one[:2]), np.prod(other[2:] - other[:2]))
    return float(np.prod(sides) / smaller)
