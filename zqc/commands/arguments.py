"""What the Python interface takes, brought into the one form that the commands work with."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.commands.read_recipe import read_recipe
from zqc.errors import ImageError, OptionError
from zqc.files.inputs import input_path
from zqc.files.places import FilePath, check_file, check_space
from zqc.parsing.names import hint
from zqc.progress import Progress, Silent
from zqc.recipe.recipe import Recipe
from zqc.recipe.toml import ELSEWHERE

logger = logging.getLogger(__name__)

_REPORT_BYTES = 1e6
"""Pictures are most of a report, and they are made small."""


@runtime_checkable
class CalibrationDataReader(Protocol):
    """ONNX Runtime's interface to calibration data: one dict of inputs after another, then None."""

    def get_next(self) -> Mapping[str, NDArray[Any]] | None:
        """Return the next inputs by name, or None."""


ModelLike: TypeAlias = FilePath | onnx.ModelProto | ir.Model
"""A model: its file, or one in memory."""

ImagesLike: TypeAlias = (
    FilePath
    | NDArray[Any]
    | Iterable[NDArray[Any] | Mapping[str, NDArray[Any]]]
    | CalibrationDataReader
)
"""Pictures: a folder, one picture, an ``.npy`` or ``.npz``; an array; arrays, or dicts of them, one
after another; or a ``CalibrationDataReader`` of ONNX Runtime."""


def model_of(source: ModelLike) -> Path | onnx.ModelProto | ir.Model:
    """Return the path of a file, or the model itself.

    Raises:
        OptionError: It is neither, or a pipe or a device.
    """
    if isinstance(source, onnx.ModelProto | ir.Model):
        return source
    if isinstance(source, str | os.PathLike):
        return input_path(source)
    raise OptionError(
        f"the model is of type {type(source).__name__}; give the path of an .onnx file, an "
        "onnx.ModelProto or an onnx_ir.Model"
    )


def check_output(output: Path, *inputs: object) -> None:
    """Refuse an output, before any work, that cannot be written or would destroy an input.

    Args:
        output: The file that will be written.
        *inputs: What is read; those that are paths count, folders with the files in them.

    Raises:
        OutputError: A file cannot be written there.
        OptionError: It is one of the inputs.
    """
    check_file(output)
    for path in (entry for entry in inputs if isinstance(entry, Path) and entry.exists()):
        if output.exists() and path.is_dir() and output.parent.samefile(path):
            raise OptionError(f"the output {output} is a file of the input; give another one")
        if output.exists() and output.samefile(path):
            raise OptionError(f"the output {output} is the input; give another one with -o")


def check_outputs(
    outputs: Iterable[Path | None], *inputs: object, report: Path | None = None
) -> None:
    """Refuse outputs that cannot be written, as ``check_output`` does, and one that is two.

    Args:
        outputs: The files that will be written, but for the report.
        *inputs: What is read, see ``check_output``.
        report: The report.

    Raises:
        OutputError: A file cannot be written there.
        OptionError: It is one of the inputs, two outputs are one file, one stands in another, or
            the report is no .html.
    """
    given = [output for output in (*outputs, report) if output is not None]
    _check_apart(given)
    for output in given:
        check_output(output, *inputs)
    if report is not None:
        if report.suffix.lower() not in (".html", ".htm"):
            raise OptionError(f"a report is an HTML file; call it {report.with_suffix('.html')}")
        check_space(report, _REPORT_BYTES)


def _check_apart(outputs: Sequence[Path]) -> None:
    """Refuse outputs that are one file, or of which one would have to be the folder of another."""
    for one, other in permutations(outputs, 2):
        place, another = Path(os.path.realpath(one)), Path(os.path.realpath(other))
        if place == another:
            raise OptionError(f"two outputs are one file, {one}; give each a name of its own")
        if place in another.parents:
            raise OptionError(
                f"{other} cannot stand in {one}, which is a file that is written, too"
            )


def name_of_model(source: Path | onnx.ModelProto | ir.Model) -> str:
    """What messages call it."""
    return source.name if isinstance(source, Path) else "the model"


Beside: TypeAlias = dict[str, tuple[float, ...]]
"""Values of inputs beside the picture, row by row."""


@overload
def images_of(images: ImagesLike) -> tuple[Path | NDArray[Any], Beside]: ...


@overload
def images_of(images: ImagesLike | None) -> tuple[Path | NDArray[Any] | None, Beside]: ...


def images_of(images: ImagesLike | None) -> tuple[Path | NDArray[Any] | None, Beside]:
    """Return the path of pictures, or one array of all that was given; and what came with them.

    Args:
        images: See ``ImagesLike``. Float arrays are input tensors (N, C, H, W) or (C, H, W), uint8
            ones pixels (N, H, W, C) or (H, W, C). A dict has one picture, whatever it is called;
            what else is in it are values of other inputs, those of the first picture for all.

    Raises:
        ImageError: It is none of them, or there is nothing in it.
    """
    if images is None or isinstance(images, np.ndarray):
        return images, {}
    if isinstance(images, str | os.PathLike):
        return input_path(images), {}
    if isinstance(images, CalibrationDataReader):
        return _joined(iter(images.get_next, None))
    if isinstance(images, Iterable):
        return _joined(images)
    raise ImageError(
        f"the pictures are of type {type(images).__name__}; give a folder, an array, arrays one "
        "after another, or a CalibrationDataReader"
    )


def recipe_of(recipe: Recipe | FilePath | None, fields: Mapping[str, Any]) -> Recipe:
    """Return a recipe, by value, preset or file, with single fields in the place of its own.

    Raises:
        TypeError: A field is none of a recipe; the message names the nearest one.
        OptionError: The recipe cannot be read, or a value is none that its field can have.
    """
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in fields:
        if name not in known:
            raise TypeError(f"there is no option {name!r}; {hint(name, (*known, *ELSEWHERE))}")
    if recipe is None:
        recipe = Recipe()
    elif not isinstance(recipe, Recipe):
        recipe = read_recipe(Path(recipe) if isinstance(recipe, os.PathLike) else recipe)
    return dataclasses.replace(recipe, **fields)


def progress_of(progress: Progress | bool | None) -> Progress:
    """Return where to report to: bars, or plain lines in a pipe, for True; nowhere for None."""
    if progress is True:
        from zqc.report.bar import bar_or_lines

        return bar_or_lines()
    return progress or Silent()


def _joined(
    items: Iterable[NDArray[Any] | Mapping[str, NDArray[Any]]],
) -> tuple[NDArray[Any], Beside]:
    """All arrays as one; single pictures among them are batches of one."""
    read = [_taken_apart(item) for item in items]
    if not read:
        raise ImageError("there are no pictures in what was given")
    batches = [array[np.newaxis] if array.ndim == 3 else array for array, _ in read]
    try:
        joined = np.concatenate(batches)
    except ValueError as error:
        shapes = sorted({str(array.shape) for array, _ in read})
        raise ImageError(
            f"the given arrays do not go together: their shapes are {', '.join(shapes)}; give "
            "pictures of one size, or a folder"
        ) from error
    return joined, _first_values([beside for _, beside in read], list(map(len, batches)))


def _taken_apart(
    item: NDArray[Any] | Mapping[str, NDArray[Any]],
) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """The pictures, and the arrays beside them."""
    if not isinstance(item, Mapping):
        return np.asarray(item), {}
    arrays = {name: np.asarray(array) for name, array in item.items()}
    pictures = [name for name, array in arrays.items() if array.ndim == 4]
    pictures = pictures or [name for name, array in arrays.items() if array.ndim == 3]
    if len(arrays) == 1:
        pictures = list(arrays)
    if len(pictures) != 1:
        raise ImageError(
            f"a dict of the pictures has the entries {', '.join(arrays) or '(none)'}; give one of "
            "four dimensions, for the picture, and values of the model's other inputs"
        )
    picture = arrays.pop(pictures[0])
    return picture, arrays


def _first_values(dicts: list[dict[str, NDArray[Any]]], counts: list[int]) -> Beside:
    """The values of the first picture; the log says so where others have others."""
    found: Beside = {}
    for name in dict.fromkeys(name for arrays in dicts for name in arrays):
        rows: list[NDArray[Any]] = []
        for arrays, count in zip(dicts, counts, strict=True):
            array = arrays.get(name, np.zeros(0))
            rows += list(array) if len(np.atleast_1d(array)) == count > 0 else [array]
        if any(not np.array_equal(rows[0], row) for row in rows[1:]):
            logger.warning(
                "the values of %r differ from picture to picture; those of the first are taken "
                "for all",
                name,
            )
        found[name] = tuple(map(float, np.asarray(rows[0]).reshape(-1)))
    return found
