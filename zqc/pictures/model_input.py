"""The inputs of a detector: the picture, and small ones beside it.

Inside of zqc a model's first input is its picture, float32 and channels first. Files have other
ones: 8-bit pixels, half precision, channels last, and numbers that are no picture. ``ModelInputs``
is what a file takes, made from what zqc works with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zqc.errors import ModelError, OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx_ir as ir
    from numpy.typing import NDArray

    Sizes: TypeAlias = Sequence[int | str | None]
    Feeds: TypeAlias = dict[str, NDArray[np.generic]]

PICTURE_CHANNELS = (1, 3, 4)
"""Of pictures that a channels-last input holds."""

_BATCH_OF_ONE = 1

_ONES = ("scale", "ratio", "mask")
"""In names of inputs: the picture is not scaled, and all of it is picture."""

_SHAPES = ("shape", "size", "im_info", "img_info")
"""In names of inputs: height and width of the picture, and its scale where there is a third."""


def input_name(model: ir.Model) -> str:
    """The name of the model's picture."""
    name = model.graph.inputs[0].name
    assert name is not None  # model_io names every value
    return name


def fixed_batch(model: ir.Model) -> int | None:
    """How many pictures the model takes at once; None where it leaves that open."""
    shape = model.graph.inputs[0].shape
    return shape[0] if shape is not None and isinstance(shape[0], int) else None


def picture_shape(model: ir.Model) -> tuple[int, int, int]:
    """Channels, height and width of one picture.

    Raises:
        ModelError: The input is no picture, or leaves one of them open.
    """
    shape = model.graph.inputs[0].shape
    sizes = () if shape is None else tuple(d for d in shape.dims[1:] if isinstance(d, int))
    if len(sizes) != 3:
        raise ModelError("the input is no picture of shape (N, C, H, W)")
    return sizes[0], sizes[1], sizes[2]


def has_channels_last(sizes: Sizes) -> bool:
    """Whether the sizes of a picture input are N, H, W, C: only the last one is that of channels.

    A size that is no number is open.
    """
    return len(sizes) == 4 and sizes[3] in PICTURE_CHANNELS and sizes[1] not in PICTURE_CHANNELS


@dataclass(frozen=True)
class PictureInput:
    """The input of a file that takes the pictures.

    Attributes:
        name: Its name.
        dtype: Its type: a float, or uint8.
        channels_last: Whether its shape is (N, H, W, C) and not (N, C, H, W).
    """

    name: str
    dtype: np.dtype[Any]
    channels_last: bool = False

    @property
    def holds_pixels(self) -> bool:
        """Whether it takes pixels 0…255 as they are."""
        return self.dtype == np.uint8

    def taken(self, tensors: NDArray[np.float32]) -> NDArray[np.generic]:
        """Turn tensors (N, C, H, W) into what the input takes; integers are rounded."""
        values = np.moveaxis(tensors, 1, 3) if self.channels_last else tensors
        if self.holds_pixels:
            values = np.clip(np.rint(values), 0, 255)
        return np.ascontiguousarray(values, self.dtype)


@dataclass(frozen=True)
class FurtherInput:
    """An input of a file beside the picture.

    Attributes:
        name: Its name.
        value: What it is fed with: for one picture, where it has a value for each.
        per_picture: Whether its first size is the open one of the pictures.
    """

    name: str
    value: NDArray[np.generic]
    per_picture: bool = False

    def taken(self, pictures: int) -> NDArray[np.generic]:
        """Return what it takes with so many pictures."""
        return np.repeat(self.value, pictures, axis=0) if self.per_picture else self.value


@dataclass(frozen=True)
class ModelInputs:
    """All inputs of a file.

    Attributes:
        picture: The picture.
        further: Those beside it.
    """

    picture: PictureInput
    further: tuple[FurtherInput, ...] = ()

    def feeds(self, tensors: NDArray[np.float32]) -> Feeds:
        """Return the inputs by name for a batch of pictures (N, C, H, W)."""
        beside = {one.name: one.taken(len(tensors)) for one in self.further}
        return {self.picture.name: self.picture.taken(tensors), **beside}


def further_sizes(
    name: str, sizes: Sizes, values: Sequence[float] | None, picture: Sizes
) -> tuple[int | str | None, ...]:
    """Fill in what an input beside the picture leaves open, as far as it shows.

    1. A name that the picture has, too, means the same; an open first size is the batch.
    2. Two open ones of a mask are height and width.
    3. One that is left is what makes the number of the given values right.

    Args:
        name: Its name.
        sizes: As the file declares them.
        values: Those that are given for it, if any.
        picture: The declared sizes of the picture and, behind them, the same ones as fixed; both
            N, C, H, W.
    """
    declared, fixed = picture[:4], picture[4:]
    names = {d: f for d, f in zip(declared, fixed, strict=True) if isinstance(d, str)}
    found: list[int | str | None] = [names.get(s, s) if isinstance(s, str) else s for s in sizes]
    if found and not isinstance(found[0], int):
        found[0] = fixed[0]
    unknown = [index for index, s in enumerate(found) if index and not isinstance(s, int)]
    if len(unknown) == 2 and "mask" in name.lower():
        for index, size in zip(unknown, fixed[2:], strict=True):
            found[index] = size
    elif len(unknown) == 1 and values is not None:
        known = math.prod(s for s in found if isinstance(s, int))
        if len(values) % known == 0:
            found[unknown[0]] = len(values) // known
    return tuple(found)


def further_input(
    name: str,
    dtype: np.dtype[Any],
    sizes: Sizes,
    values: Sequence[float] | None,
    picture: tuple[int, int],
) -> FurtherInput:
    """Return what an input beside the picture is fed with: what is given, or what is usual.

    Usual are 1 for scales, ratios and masks, and height and width of the picture for shapes and
    sizes.

    Args:
        name: Its name.
        dtype: Its type.
        sizes: Its sizes, all but the first one known; see ``further_sizes``.
        values: The given values, row by row, or one for all.
        picture: Height and width of the picture.

    Raises:
        OptionError: No value is known for it, or the given ones do not fit.
    """
    per_picture = bool(sizes) and not isinstance(sizes[0], int)
    known = [size for size in sizes if isinstance(size, int)]
    shape = (*[_BATCH_OF_ONE] * per_picture, *known)
    spelled = f"{name!r} {dtype.name}[{', '.join('?' if s is None else str(s) for s in sizes)}]"
    if len(shape) != len(sizes):
        raise OptionError(
            f"the input {spelled} leaves sizes open that do not show; give all of its values with "
            f"--input {name}=VALUES, or export the model with a fixed size"
        )
    given = _usual(name.lower(), shape, picture) if values is None else list(values)
    if given is None or dtype.kind not in "fiub":
        raise OptionError(
            f"the model has an input beside the picture, {spelled}, and its name does not tell "
            f"its value; say it with --input {name}=VALUES, such as --input {name}=1"
        )
    try:
        array = np.broadcast_to(_shaped(given, shape), shape)
    except ValueError as error:
        raise OptionError(
            f"{len(given)} values were given for the input {spelled}; give 1, or "
            f"{math.prod(shape)} row by row: --input {name}=VALUES"
        ) from error
    if dtype.kind != "f" and not np.array_equal(array, np.rint(array)):
        raise OptionError(f"the input {spelled} takes whole numbers; see --input {name}=VALUES")
    # A copy of its own, which ascontiguousarray would make a vector where it is a number.
    return FurtherInput(name, np.array(array, dtype), per_picture)


def check_known(values: Mapping[str, Sequence[float]], names: Sequence[str], picture: str) -> None:
    """Refuse values for inputs that a model does not have.

    Raises:
        OptionError: The message names those that it has.
    """
    for name in values:
        if name == picture:
            raise OptionError(f"--input {name}: that is the picture, which --images gives")
        if name not in names:
            others = ", ".join(other for other in names if other != picture)
            raise OptionError(
                f"--input {name}: the model has no such input"
                + (f"; beside the picture it has {others}" if others else " beside the picture")
            )


def _shaped(values: Sequence[float], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The values as an array that broadcasts to the shape, if there are that many."""
    array = np.asarray(values, np.float64)
    if array.size == math.prod(shape):
        return array.reshape(shape)
    last = shape[-1] if shape else 1
    if array.size not in (1, last):
        raise ValueError
    return array


def _usual(name: str, shape: tuple[int, ...], picture: tuple[int, int]) -> Sequence[float] | None:
    """What an input with such a name is mostly fed with; None where that does not show."""
    last = shape[-1] if shape else 1
    if any(part in name for part in _ONES):
        return [1.0]
    if any(part in name for part in _SHAPES):
        if last == 2:
            return picture
        if last == 3 and "info" in name:
            return (*picture, 1.0)
    return None
