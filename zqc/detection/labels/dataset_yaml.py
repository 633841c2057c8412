"""Datasets as Ultralytics describes them: a YAML file with folders of pictures and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zqc.detection.labels.labels import Labels
from zqc.detection.labels.names import read_text, read_yaml, yaml_names
from zqc.detection.labels.yolo_txt import SizeOf, label_file, read_yolo
from zqc.errors import LabelError
from zqc.parsing.text import shown
from zqc.pictures.images import SUFFIXES

SPLITS = ("val", "test", "train")
"""Parts of a dataset, in the order in which one is looked for to measure on."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that a YAML file describes.

    Attributes:
        path: The file.
        split: The part that is taken.
        pictures: Its pictures, sorted.
        names: Names of the classes by number; empty where they have none.
        keypoints: Number of keypoints, and of numbers for each.
    """

    path: Path
    split: str
    pictures: tuple[Path, ...]
    names: tuple[str, ...]
    keypoints: tuple[int, int] | None

    @property
    def folder(self) -> Path | None:
        """The folder that all pictures are in; None where there are several."""
        folders = {picture.parent for picture in self.pictures}
        return next(iter(folders)) if len(folders) == 1 else None

    def labels(self, size_of: SizeOf) -> Labels:
        """Read the labels of its pictures.

        Raises:
            LabelError: They cannot be used, or there are none.
        """
        files = {picture: label_file(picture) for picture in self.pictures}
        if not any(file.is_file() for file in files.values()):
            picture, file = next(iter(files.items()))
            raise LabelError(
                f"no picture of {self.path} has labels; those of {picture} were looked for in "
                f"{file}"
            )
        return read_yolo(
            self.path, files, size_of=size_of, names=self.names, keypoints=self.keypoints
        )


def read_dataset(path: Path, split: str | None = None, *, names: Sequence[str] = ()) -> Dataset:
    """Read a dataset's YAML file: ``path``, ``val`` (or ``test``, ``train``), ``names``.

    Folders are looked for below ``path``, which is relative to the file, and beside the file. A
    split is a folder, which is searched with those below it, a text file with a picture in each
    line, or a list of either. Nothing is downloaded.

    Args:
        path: The YAML file.
        split: ``val``, ``test`` or ``train``; the first of these that the file has by default.
        names: Names of the classes where the file has none.

    Raises:
        LabelError: The file, the split or its pictures are missing.
    """
    content = read_yaml(path)
    wanted = SPLITS if split is None else (split,)
    found = next((name for name in wanted if content.get(name)), None)
    if found is None:
        raise LabelError(f"{path} has no {' or '.join(wanted)}; name a folder of pictures there")
    entries = content[found] if isinstance(content[found], list) else [content[found]]
    pictures: set[Path] = set()
    for entry in entries:
        pictures.update(_pictures(_existing(path, content, str(entry))))
    if not pictures:
        raise LabelError(f"{found} in {path} has no pictures ({', '.join(SUFFIXES)})")
    classes = yaml_names(content, path) or tuple(names)
    return Dataset(path, found, tuple(sorted(pictures)), classes, _shape(content))


def _existing(path: Path, content: Mapping[str, Any], entry: str) -> Path:
    root = Path(str(content.get("path") or ""))
    places = list(dict.fromkeys([path.parent / root / entry, path.parent / entry]))
    for place in places:
        try:
            if place.exists():
                return place
        except OSError as error:  # such as a name that is too long
            raise LabelError(f"{path} names {entry[:60]!r}: {error.strerror or error}") from error
    looked = " and ".join(map(str, places))
    raise LabelError(f"{path} names {entry[:100]}, but it is not there (looked for {looked[:300]})")


def _pictures(place: Path) -> list[Path]:
    if place.is_dir():
        return [file for file in place.rglob("*") if file.suffix.lower() in SUFFIXES]
    if place.suffix.lower() != ".txt":
        return [place]
    lines = [line.strip() for line in read_text(place).splitlines()]
    return [place.parent / line for line in lines if line]


def _shape(content: Mapping[str, Any]) -> tuple[int, int] | None:
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    match shape:
        case [int(count), int(each)] if count > 0 and each in (2, 3):
            return count, each
    raise LabelError(f"kpt_shape {shown(shape)} is not the number of keypoints and 2 or 3")
