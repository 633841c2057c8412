"""Detectors that the user describes in a small TOML file: what may stand in it.

A detector with boxes N × A × 4 and scores N × A × C takes a few lines::

    boxes = "pred_boxes"        # names of outputs
    scores = "pred_scores"
    box_format = "cxcywh"       # "xyxy", "yxyx", "xywh"
    units = "relative"          # "pixels"
    activation = "softmax"      # what is left to be taken: "sigmoid", "none"

Or it names the ``family`` of a detector that cannot be told from its outputs alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from zqc.detection.conventions.convention import Task
from zqc.errors import OptionError
from zqc.parsing.names import unknown_key
from zqc.parsing.text import ParseError, is_number, is_whole, parsed_toml, read_text, shown
from zqc.pictures.input_format import FitMode

BoxFormat = Literal["xyxy", "yxyx", "xywh", "cxcywh"]
Units = Literal["pixels", "relative"]
Activation = Literal["none", "sigmoid", "softmax"]

Anchors = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says; each field is a key of it.

    Attributes:
        path: The file.
        boxes: Output with the boxes; by default the one N × A × 4.
        scores: Output with the scores; by default the other one. Where it is the same as ``boxes``,
            the first four columns are the box.
        labels: Output with the classes, of detectors that select themselves: scores and classes
            are N × A then, and nothing is suppressed.
        box_format: The four numbers of a box: ``xyxy`` is two corners, ``yxyx`` the same with y
            first, ``xywh`` the upper left corner and the size, ``cxcywh`` the centre and the size.
        units: Whether boxes are in input pixels or relative to its size.
        activation: What is left to be taken of the scores.
        background: The column of the scores that is no class, -1 for the last; None for none.
        objectness: Whether the first column of the scores is the objectness, so that a score is
            its product with a class.
        candidates: The axis of A: 1, or 2 for N × 4 × A.
        nms: Whether overlapping boxes are left to be suppressed.
        family: The family that the detector is of, instead of all the above.
        task: What it finds, where the family can find several things.
        anchors: Anchors of the family: [width, height] in input pixels, those of the finest grid
            first, or for an SSD the path of an ``.npy``.
        keypoints: Their number and the values of each, such as [17, 3].
        classes: Names of the classes.
        fit: How pictures get into the model; None for the usual way of the family.
    """

    path: Path
    boxes: str = ""
    scores: str = ""
    labels: str = ""
    box_format: BoxFormat = "xyxy"
    units: Units = "pixels"
    activation: Activation = "none"
    background: int | None = None
    objectness: bool = False
    candidates: Literal[1, 2] = 1
    nms: bool = True
    family: str = ""
    task: Task | None = None
    anchors: Anchors | Path = ()
    keypoints: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()
    fit: FitMode | None = None


_CHOICES: dict[str, tuple[object, ...]] = {
    "box_format": get_args(BoxFormat),
    "units": get_args(Units),
    "activation": get_args(Activation),
    "candidates": (1, 2),
    "task": get_args(Task),
    "fit": get_args(FitMode),
    "objectness": (True, False),
    "nms": (True, False),
}
_TEXTS = ("boxes", "scores", "labels", "family")
_KEYS = tuple(one.name for one in fields(Description) if one.name != "path")
_OF_OUTPUTS = _KEYS[: _KEYS.index("family")]
_OF_FAMILIES = ("task", "anchors", "keypoints")


def read_description(path: Path) -> Description:
    """Read the description of a detector.

    Raises:
        OptionError: The file cannot be read, is not TOML, has an unknown key, a value that its key
            cannot have, or keys that do not go together.
    """
    try:
        table = parsed_toml(read_text(path))
    except OSError as error:
        raise OptionError(
            f"cannot read the description {path}: {error.strerror or error}"
        ) from error
    except ParseError as error:
        raise OptionError(f"the description {path} {error}") from error
    try:
        return _of_table(table, path)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None


def _of_table(table: Mapping[str, Any], path: Path) -> Description:
    for key in table:
        if key not in _KEYS:
            raise OptionError(unknown_key(key, _KEYS))
    strangers = [
        key for key in table if key in (_OF_OUTPUTS if "family" in table else _OF_FAMILIES)
    ]
    if strangers:
        other = "with a family, which knows it" if "family" in table else "without a family"
        raise OptionError(f"{strangers[0]} cannot stand {other}; leave one of the two out")
    return Description(path=path, **{k: _typed(k, v, path) for k, v in table.items()})


def _typed(key: str, value: Any, path: Path) -> Any:
    if key in _CHOICES:
        choices = _CHOICES[key]
        known = any(value == one and type(value) is type(one) for one in choices)
        return _checked(key, value, known, f"one of {', '.join(map(json.dumps, choices))}")
    if key in _TEXTS:
        return _checked(key, value, isinstance(value, str) and value != "", "a name")
    if key == "background":
        return _checked(key, value, is_whole(value), "the number of a column, such as 0 or -1")
    items: list[Any] = value if isinstance(value, list) else [None]
    if key == "classes":
        return tuple(
            _checked(key, value, all(isinstance(i, str) for i in items), "a list of names")
        )
    if key == "keypoints":
        fits = len(items) == 2 and all(map(is_whole, items))
        fits = fits and 0 < items[0] < 10_000 and items[1] in (2, 3)
        return tuple(_checked(key, value, fits, "[number, values of each: 2 or 3]"))
    if isinstance(value, str):  # of the anchors
        return path.parent / value
    pairs = value != [] and all(isinstance(i, list) and len(i) == 2 for i in items)
    fits = pairs and all(_is_size(number) for pair in items for number in pair)
    said = "a list of [width, height] in pixels, or the name of an .npy"
    return tuple(tuple(pair) for pair in _checked(key, value, fits, said))


def _checked(key: str, value: Any, fits: bool, allowed: str) -> Any:
    if not fits:
        raise OptionError(f"{key} is {shown(value)}, but must be {allowed}")
    return value


def _is_size(value: Any) -> bool:
    return is_number(value) and 0 < value < 1e6
