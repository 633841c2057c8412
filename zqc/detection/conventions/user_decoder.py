"""Decoders that users write themselves: a Python function.

It takes the outputs by name, and height and width of the input, and returns for each picture boxes
(x1, y1, x2, y2) in input pixels, shape (n, 4), scores and the indices of classes, shape (n,)::

    def decode(outputs, height, width):
        return [(boxes, scores, labels) for ...]

What overlaps has been suppressed already. Names of classes may stand as ``CLASSES`` in its module.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from zqc.detection.conventions.convention import Facts, Outputs, Task
from zqc.detection.detections import Detections
from zqc.detection.nms import DEFAULT_SELECTION, Selection
from zqc.errors import OptionError
from zqc.pictures.input_format import FitMode

_FORM = "it must return one (boxes, scores, labels) for each picture"


@dataclass(frozen=True)
class UserDecoder:
    """A decoder that is a function of the user's.

    Attributes:
        function: It.
        source: How it was named, for messages.
        height: Height of the input in pixels.
        width: Its width.
        names: Names of the classes; empty where they are not known.
    """

    name: ClassVar[str] = "decoder"
    task: ClassVar[Task] = "detect"
    mode: ClassVar[FitMode] = "letterbox"
    function: Callable[..., Any]
    source: str
    height: int
    width: int
    names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes; 0 where it is not known."""
        return len(self.names)

    def decode(
        self, outputs: Outputs, selection: Selection = DEFAULT_SELECTION
    ) -> list[Detections]:
        """Return what the function finds in each picture of a batch, best first.

        Raises:
            OptionError: It raises something itself, or returns something else.
        """
        pictures = len(next(iter(outputs.values())))
        try:
            found = list(self.function(dict(outputs), self.height, self.width))
        except (Exception, SystemExit) as error:  # anything may happen in it
            raise OptionError(f"the decoder {self.source} failed: {_said(error)}") from error
        if len(found) != pictures:
            raise OptionError(
                f"the decoder {self.source} returned {len(found)} items for {pictures} pictures; "
                f"{_FORM}"
            )
        return [self._detections(one, selection) for one in found]

    def _detections(self, found: object, selection: Selection) -> Detections:
        try:
            boxes, scores, labels = (np.asarray(part) for part in found)  # type: ignore[attr-defined]
        except (TypeError, ValueError) as error:
            raise OptionError(
                f"the decoder {self.source} returned {found!r:.80}; {_FORM}"
            ) from error
        boxes = boxes.reshape(-1, 4) if boxes.size == 0 else boxes
        shapes = f"boxes {boxes.shape}, scores {scores.shape}, labels {labels.shape}"
        if boxes.shape != (*scores.shape, 4) or scores.shape != labels.shape or scores.ndim != 1:
            raise OptionError(
                f"the decoder {self.source} returned {shapes} for a picture; they must have the "
                "shapes (n, 4), (n,) and (n,)"
            )
        numbers = all(part.dtype.kind in "fiu" for part in (boxes, scores, labels))
        if not numbers or not all(np.isfinite(part).all() for part in (boxes, scores, labels)):
            raise OptionError(f"the decoder {self.source} returned something but finite numbers")
        if (labels != np.rint(labels)).any() or (labels < 0).any():
            raise OptionError(
                f"the decoder {self.source} returned labels that are no indices of classes, such "
                f"as {labels[(labels != np.rint(labels)) | (labels < 0)][0]}; they count from 0"
            )
        order = np.argsort(-scores.astype(np.float64), kind="stable")
        order = order[scores[order] > selection.score_threshold][: selection.detections]
        return Detections(
            boxes[order].astype(np.float32),
            scores[order].astype(np.float32),
            labels[order].astype(np.int64),
        )


def load(source: str, facts: Facts) -> UserDecoder:
    """Load a function of the user's.

    Args:
        source: ``module:function``, the module looked for in the current folder first, or
            ``file.py:function``.
        facts: What is known of the detector.

    Raises:
        OptionError: It cannot be loaded, or is no function.
    """
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise OptionError(
            f"the decoder {source!r} is neither module:function, file.py:function nor FILE.toml"
        )
    module = _module(place, source)
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise OptionError(
            f"{place} has no function {name!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    names = getattr(module, "CLASSES", facts.names)
    if not isinstance(names, list | tuple) or not all(isinstance(each, str) for each in names):
        raise OptionError(f"CLASSES in {place} must be a list of names, but is {names!r:.80}")
    return UserDecoder(function, source, facts.height, facts.width, tuple(names))


def _module(place: str, source: str) -> ModuleType:
    file = Path(place) if place.endswith(".py") else Path(*place.split(".")).with_suffix(".py")
    if place.endswith(".py") and not file.is_file():
        raise OptionError(f"there is no file {place} for the decoder {source!r}")
    folder = file.parent if place.endswith(".py") else Path()
    try:
        with _found_in(folder):
            if not file.is_file():
                return importlib.import_module(place)
            loader = SourceFileLoader(f"{file.stem} (decoder)", str(file))
            module = ModuleType(loader.name)
            module.__file__ = str(file)
            loader.exec_module(module)
            return module
    except ModuleNotFoundError as error:
        if f"{place}.".startswith(f"{error.name}."):
            raise OptionError(
                f"there is no module {place!r} for the decoder {source!r}, neither in the current "
                "folder nor installed"
            ) from error
        raise OptionError(f"the decoder {source!r} cannot be loaded: {_said(error)}") from error
    except (Exception, SystemExit) as error:  # anything may stand in it
        raise OptionError(f"the decoder {source!r} cannot be loaded: {_said(error)}") from error


@contextmanager
def _found_in(folder: Path) -> Iterator[None]:
    """Let what stands beside a module be imported by it."""
    before = list(sys.path)
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path[:] = before


def _said(error: BaseException) -> str:
    """Class, message and place of an error in the user's code."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError in line {error.lineno} of {error.filename}: {error.msg}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    where = f" in line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return f"{type(error).__name__}{where}: {error}"
