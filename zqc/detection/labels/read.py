"""Reading labels, whichever format they are in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zqc.detection.labels.coco import read_coco
from zqc.detection.labels.dataset_yaml import read_dataset
from zqc.detection.labels.labels import Labels
from zqc.detection.labels.names import read_names
from zqc.detection.labels.voc import read_voc
from zqc.detection.labels.yolo_txt import SizeOf, label_file, read_yolo
from zqc.errors import LabelError
from zqc.pictures.images import SUFFIXES
from zqc.pictures.picture_file import picture_size

NAMES_FILES = ("classes.txt", "obj.names")
"""What the names of the classes are called where labels are text files."""

FORMATS = (
    "expected a COCO .json, a dataset's .yaml, or a folder of YOLO's .txt or Pascal VOC's .xml"
)


def read_labels(
    path: Path,
    pictures: Sequence[Path] = (),
    *,
    names: Sequence[str] = (),
    size_of: SizeOf = picture_size,
) -> Labels:
    """Read labels in any of the formats, told apart by the ending or by what a folder holds.

    Args:
        path: A COCO ``.json``; a dataset's ``.yaml``; a folder of ``.txt`` as YOLO reads them, or
            of ``.xml`` of Pascal VOC; one such ``.txt`` or ``.xml``.
        pictures: Files of the pictures. Only those of YOLO's format are needed, and there too they
            are found where they stand beside the labels or in ``images`` for ``labels``.
        names: Names of the classes by number, for labels of YOLO's format that have none.
        size_of: From the file of a picture to its width and height.

    Raises:
        LabelError: The labels are missing, damaged or contradict themselves.
        ImageError: A picture that has relative labels cannot be read.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return _folder(path, pictures, names, size_of)
    if suffix in (".yaml", ".yml"):
        return read_dataset(path, names=names).labels(size_of)
    if suffix == ".xml":
        return read_voc(path, [path])
    if suffix == ".txt":
        return _texts(path, [path], pictures, names, size_of)
    if suffix == ".json":
        return read_coco(path)
    raise LabelError(f"{path} is no file of labels; {FORMATS}")


def _folder(path: Path, pictures: Sequence[Path], names: Sequence[str], size_of: SizeOf) -> Labels:
    try:
        files = sorted(file for file in path.iterdir() if file.is_file())
    except OSError as error:
        raise LabelError(f"cannot read the folder {path}: {error}") from error
    texts = [f for f in files if f.suffix.lower() == ".txt" and f.name not in NAMES_FILES]
    documents = [f for f in files if f.suffix.lower() == ".xml"]
    if texts and documents:
        raise LabelError(
            f"{path} has both .txt and .xml, {texts[0].name} and {documents[0].name}; keep one "
            "kind of labels in a folder"
        )
    if documents:
        return read_voc(path, documents)
    if texts:
        return _texts(path, texts, pictures, names, size_of)
    here = [file for file in files if file.suffix.lower() in SUFFIXES]
    elsewhere = {picture: label_file(picture) for picture in here}
    if any(file.is_file() for file in elsewhere.values()):
        folder = next(iter(elsewhere.values())).parent
        found = _names_of(folder) or names
        return read_yolo(path, elsewhere, size_of=size_of, names=found)
    raise LabelError(f"there are no labels in {path}; {FORMATS}")


def _texts(
    path: Path,
    texts: Sequence[Path],
    pictures: Sequence[Path],
    names: Sequence[str],
    size_of: SizeOf,
) -> Labels:
    """Labels in text files, each of the picture with the same name."""
    folder = texts[0].parent
    known = list(pictures) or _pictures_of(folder)
    file_of = {file.stem: file for file in texts}
    files = {picture: file_of[picture.stem] for picture in known if picture.stem in file_of}
    if not files:
        raise LabelError(
            f"no picture belongs to the labels in {path}: a picture called {texts[0].stem} was "
            f"looked for {'among those given' if pictures else 'beside them'}"
        )
    return read_yolo(path, files, size_of=size_of, names=_names_of(folder) or names)


def _pictures_of(folder: Path) -> list[Path]:
    """Pictures beside labels, or in ``images`` where the path of the labels has ``labels``."""
    parts = list(folder.absolute().parts)
    places = [folder]
    if "labels" in parts:
        last = max(index for index, part in enumerate(parts) if part == "labels")
        places.append(Path(*parts[:last], "images", *parts[last + 1 :]))
    return sorted(
        file
        for place in places
        if place.is_dir()
        for file in place.iterdir()
        if file.suffix.lower() in SUFFIXES
    )


def _names_of(folder: Path) -> tuple[str, ...]:
    """Names of the classes in the folder of the labels or the one above it."""
    places = [above / name for above in (folder, folder.parent) for name in NAMES_FILES]
    return next((read_names(file) for file in places if file.is_file()), ())
