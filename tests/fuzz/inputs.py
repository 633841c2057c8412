"""Inputs other than models: each with sound examples, and with what reads it in zqc."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.fuzz import seeds
from tests.fuzz.mutations import changed_bytes, pick
from zqc.commands.read_recipe import read_recipe
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.description import read_description
from zqc.detection.labels.names import read_names
from zqc.detection.labels.read import read_labels
from zqc.errors import StatisticsError
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.statistics.card import read_card
from zqc.statistics.files.checkpoint import read_checkpoint
from zqc.statistics.files.darknet import read_darknet
from zqc.statistics.files.safetensors import read_safetensors

WORDS = (
    *("0", "-1", "1e999", "nan", "inf", "NaN", "Infinity", "9" * 5000, "1" + "0" * 400, "2e308"),
    *("true", "null", '"no"', "[]", "{}", "[" * 5000, "{" * 5000, '{"a":' * 2000, "<a>" * 5000),
    *("2024-01-01", "2024-99-99", "&a", "*a", "!!int ''", "!!python/object:os.system x", "\\ud800"),
    *("\x00", "é", "\ufeff", "'", '"', "=", ":", ".", "a" * 300, "../" * 50, "a.a" * 3000, "\n"),
    *("<!DOCTYPE x>", "</annotation>", "-0.5", "1.0000001", "4294967296", "1e-320"),
)


class Kind(NamedTuple):
    """One kind of input.

    Attributes:
        ending: Of the name of its file.
        seeds: Contents that are sound.
        read: What reads a file of it.
    """

    ending: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]


def _pictures(path, channels=3):
    """Open a picture or an array, and read all of it."""
    opened = open_images(
        path, channels=channels, height=8, width=8, input_format=InputFormat(), input_name="x"
    )
    return list(opened.batches(4))


def _labels(path):
    return read_labels(path, size_of=lambda _: (20, 10))


def _beside(path):
    """Labels of a text file beside its picture."""
    path.with_suffix(".png").write_bytes(seeds.picture("PNG"))
    (path.parent / "images").mkdir(exist_ok=True)
    return read_labels(path, [path.with_suffix(".png")])


def _dataset(path):
    """A dataset with a picture and its labels."""
    for folder, name, content in (
        ("images", "a.png", seeds.picture("PNG")),
        ("labels", "a.txt", b"1 0.5 0.5 0.25 0.25 0.5 0.5 2 0.25 0.25 1"),
    ):
        (path.parent / folder).mkdir(exist_ok=True)
        (path.parent / folder / name).write_bytes(content)
    return _labels(path)


def _weights(path):
    """Weights beside the description of the network that they are of."""
    path.with_suffix(".cfg").write_text(seeds.DARKNET)
    return read_darknet(path)


def _description(path):
    """The description of a network, beside as many weights as it asks for, if it says how many."""
    weights, most = path.with_suffix(".weights"), 10_000
    weights.write_bytes(seeds.darknet(most))
    try:
        return read_darknet(weights)
    except StatisticsError as error:
        left = re.search(r"numbers ([0-9]+) are left", str(error))
        if left is None:
            raise
    weights.write_bytes(seeds.darknet(most - int(left[1])))
    return read_darknet(weights)


def _safetensors():
    header = b'{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    return len(header).to_bytes(8, "little") + header + bytes(24)


KINDS = {
    "recipe": Kind(".toml", (seeds.RECIPE.encode(),), read_recipe),
    "description": Kind(".toml", (seeds.DESCRIPTION.encode(),), read_description),
    "COCO": Kind(".json", (seeds.COCO.encode(),), _labels),
    "VOC": Kind(".xml", (seeds.VOC.encode(),), _labels),
    "YOLO": Kind(".txt", (seeds.YOLO.encode(),), _beside),
    "dataset": Kind(".yaml", (seeds.YAML.encode(),), _dataset),
    "names": Kind(".yaml", (seeds.YAML.encode(),), read_names),
    "card": Kind(".json", (seeds.CARD.encode(),), read_card),
    "npz": Kind(".npz", (seeds.npz(),), _pictures),
    "npy": Kind(
        ".npy", (seeds.npy(shape=(2, 3, 8, 8)), seeds.npy(np.uint8, (2, 8, 8, 3))), _pictures
    ),
    "anchors": Kind(".npy", (seeds.npy(),), read_anchors),
    "safetensors": Kind(".safetensors", (_safetensors(),), read_safetensors),
    "checkpoint": Kind(".pt", (seeds.checkpoint(), seeds.checkpoint(legacy=True)), read_checkpoint),
    "darknet weights": Kind(".weights", (seeds.darknet(),), _weights),
    "darknet cfg": Kind(".cfg", (seeds.DARKNET.encode(),), _description),
    "picture": Kind(
        ".png",
        (
            *map(seeds.picture, ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")),
            *(seeds.picture("TIFF", mode) for mode in ("I;16", "CMYK", "F", "1")),
            *(seeds.picture("PNG", mode) for mode in ("P", "LA", "RGBA")),
            *(seeds.picture("JPEG", mode) for mode in ("CMYK", "L")),
        ),
        partial(_pictures, channels=3),
    ),
}


def changed(content, rng):
    """A file after some changes: of bytes, or of words where it is text."""
    if rng.random() < 0.4 or b"\0" in content[:200]:
        return changed_bytes(content, rng)
    text = content.decode(errors="replace")
    for _ in range(int(rng.integers(1, 4))):
        places = list(re.finditer(r"[\w.]+|[^\w\s]", text)) or [re.match("", text)]
        place = pick(rng, places)
        others = [other.group() for other in places]
        word = pick(rng, WORDS) if rng.random() < 0.7 else pick(rng, others)
        end = place.start() if rng.random() < 0.3 else place.end()
        text = text[: place.start()] + word + text[end:]
    return text.encode(errors="surrogatepass")
