"""What two models are fed with: both the same, random in the input's range, or pictures."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zqc.errors import InputShapeError, ModelError, OptionError
from zqc.pictures.images import open_images
from zqc.pictures.model_input import (
    ModelInputs,
    PictureInput,
    check_known,
    further_input,
    has_channels_last,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zqc.pictures.input_format import FitMode, InputFormat
    from zqc.runtime.session import Runner

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

_PICTURES = ("tensor(float)", "tensor(float16)", "tensor(uint8)")


@dataclass(frozen=True)
class Input:
    """An input of a model.

    Attributes:
        name: Its name.
        element: Its type as ONNX Runtime calls it, such as ``tensor(float)``.
        sizes: One per dimension; a name or None where the model leaves it open.
    """

    name: str
    element: str
    sizes: tuple[int | str | None, ...]

    def __str__(self) -> str:
        """``images: float 1×3×?×?``."""
        sizes = "×".join("?" if size is None else str(size) for size in self.sizes)
        return f"{self.name}: {self.element.removeprefix('tensor(').removesuffix(')')} {sizes}"


def inputs_of(runner: Runner) -> tuple[Input, ...]:
    """The inputs of a loaded model; sizes below 1 are open."""
    return tuple(
        Input(
            value.name,
            value.type,
            tuple(s if isinstance(s, str) or (s or 0) > 0 else None for s in value.shape),
        )
        for value in runner.session.get_inputs()
    )


def common_inputs(
    models: Sequence[tuple[Path, Sequence[Input]]],
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
) -> tuple[Input, ...]:
    """Return the inputs that both models take, with all sizes fixed.

    A size that one model leaves open is that of the other one. What both leave open is, in this
    order: the first dimension, or the name of the first input's one: ``batch``; two more open ones
    of an input of four dimensions: height and width; a third one: 3 channels.

    Args:
        models: Two files with their inputs.
        batch: Pictures at once; 1 by default where it is open.
        size: Height and width, where they are open.

    Raises:
        ModelError: The inputs differ.
        InputShapeError: A size is open, and nothing says what it is.
        OptionError: A size is fixed, and the options say another one.
    """
    (first_path, first), (second_path, second) = models
    others = {other.name: other for other in second}
    both = ", ".join(map(str, first)), ", ".join(map(str, second))
    differ = ModelError(
        f"the inputs differ: {both[0] or 'none'} in {first_path}, {both[1] or 'none'} in "
        f"{second_path}; give two models that take the same"
    )
    if not first or {one.name for one in first} != set(others):
        raise differ
    merged = []
    for one in first:
        other = others[one.name]
        if one.element != other.element or len(one.sizes) != len(other.sizes):
            raise differ
        for a, b in zip(one.sizes, other.sizes, strict=True):
            if isinstance(a, int) and isinstance(b, int) and a != b:
                raise differ
        sizes = (
            b if isinstance(b, int) else a for a, b in zip(one.sizes, other.sizes, strict=True)
        )
        merged.append(Input(one.name, one.element, tuple(sizes)))
    batch_name = merged[0].sizes[0] if merged[0].sizes else None
    named = {batch_name: batch or 1} if isinstance(batch_name, str) else {}
    fixed = tuple(_fixed(one, named, batch, size, first_path) for one in merged)
    _check_given(fixed, batch, size)
    return fixed


def model_inputs(
    inputs: Sequence[Input], values: Mapping[str, Sequence[float]]
) -> tuple[ModelInputs, tuple[int, int, int, int]]:
    """Return what a detector's inputs are fed with, and the sizes (N, C, H, W) of its pictures.

    Args:
        inputs: With fixed sizes.
        values: Of those that are no pictures, row by row; the usual ones by default.

    Raises:
        ModelError: No input, or more than one, takes pictures.
        OptionError: No value is known for one of the others.
    """
    picture = _picture(inputs, values)
    if picture is None:
        listed = ", ".join(map(str, inputs))
        raise ModelError(
            "pictures need one input of float32, float16 or uint8, N x C x H x W or N x H x W x C, "
            f"and there is {listed}; zqc bench without pictures feeds any numbers"
        )
    check_known(values, [one.name for one in inputs], picture.name)
    last = has_channels_last(picture.sizes)
    batch, channels, height, width = [size for size in picture.sizes if isinstance(size, int)]
    if last:
        channels, height, width = width, channels, height
    further = [
        further_input(
            one.name,
            np.dtype(_DTYPES.get(one.element, object)),
            one.sizes,
            values.get(one.name),
            (height, width),
        )
        for one in inputs
        if one is not picture
    ]
    taken = PictureInput(picture.name, np.dtype(_DTYPES[picture.element]), last)
    return ModelInputs(taken, tuple(further)), (batch, channels, height, width)


def random_feeds(
    inputs: Sequence[Input],
    input_format: InputFormat,
    values: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, NDArray[np.generic]]:
    """Fill inputs: the picture with random pixels, others with their values, or what will do.

    Floats of four dimensions are pixels, uniform in the range of the input format; 8-bit integers
    have any values. Inputs beside the picture have the given or the usual values. Without any,
    other integers (sizes, counts) are ones, other floats uniform in 0:1.

    Args:
        inputs: With fixed sizes.
        input_format: How pixels become values.
        values: Of inputs that are no pictures, row by row.

    Raises:
        ModelError: An input has a type that nothing is known to fill it with.
        OptionError: Given values do not fit.
    """
    rng, values = np.random.default_rng(0), values or {}
    picture = _picture(inputs, values)
    check_known(values, [one.name for one in inputs], picture.name if picture else "")
    feeds: dict[str, NDArray[np.generic]] = {}
    for one in inputs:
        shape = tuple(size for size in one.sizes if isinstance(size, int))
        dtype = _DTYPES.get(one.element)
        if dtype is None:
            raise ModelError(
                f"the input {one} cannot be filled; models with inputs of "
                f"{', '.join(_DTYPES)} can be measured"
            )
        known = None
        if picture is not None and one is not picture:
            sides = _sides(picture)
            with suppress(OptionError) if one.name not in values else nullcontext():
                given = values.get(one.name)
                known = further_input(one.name, np.dtype(dtype), shape, given, sides).value
        if known is not None:
            feeds[one.name] = known
        elif dtype in (np.uint8, np.int8):
            limits = np.iinfo(dtype)
            feeds[one.name] = rng.integers(limits.min, limits.max + 1, shape, dtype)
        elif not np.issubdtype(dtype, np.floating):
            feeds[one.name] = np.ones(shape, dtype)
        else:
            low, high = (min(input_format.low), max(input_format.high))
            if len(shape) != 4:
                low, high = 0.0, 1.0
            feeds[one.name] = rng.uniform(low, high, shape).astype(dtype)
    return feeds


def picture_feeds(
    inputs: Sequence[Input],
    images: Path | NDArray[np.generic],
    input_format: InputFormat,
    values: Mapping[str, Sequence[float]] | None = None,
    *,
    mode: FitMode = "letterbox",
) -> dict[str, NDArray[np.generic]]:
    """Fill the inputs of a detector with the first pictures; too few are repeated.

    Raises:
        ModelError: No input, or more than one, takes pictures.
        OptionError: No value is known for an input beside the picture.
        ImageError: The pictures cannot be used.
    """
    taken, (batch, channels, height, width) = model_inputs(inputs, values or {})
    pictures = open_images(
        images,
        channels=channels,
        height=height,
        width=width,
        input_format=input_format,
        mode=mode,
        limit=batch,
        input_name=taken.picture.name,
    )
    tensors = next(pictures.batches(batch))
    return taken.feeds(np.resize(tensors, (batch, *tensors.shape[1:])))


def _picture(inputs: Sequence[Input], values: Collection[str]) -> Input | None:
    """The only input that can take pictures, is given no values and is not called a mask."""
    found = [one for one in inputs if len(one.sizes) == 4 and one.element in _PICTURES]
    found = [one for one in found if one.name not in values] or found
    found = [one for one in found if "mask" not in one.name.lower()] or found
    return found[0] if len(found) == 1 else None


def _sides(picture: Input) -> tuple[int, int]:
    """Height and width of the pictures."""
    sizes = picture.sizes[1:3] if has_channels_last(picture.sizes) else picture.sizes[2:]
    height, width = (size for size in sizes if isinstance(size, int))
    return height, width


def _fixed(
    one: Input,
    named: Mapping[str, int],
    batch: int | None,
    size: tuple[int, int] | None,
    path: Path,
) -> Input:
    """Fill in what is open."""
    sizes = [named.get(s, s) if isinstance(s, str) else s for s in one.sizes]
    if sizes and not isinstance(sizes[0], int):
        sizes[0] = batch or 1
    unknown = [index for index, s in enumerate(sizes) if not isinstance(s, int)]
    picture = len(sizes) == 4 and len(unknown) in (2, 3)
    if unknown and (not picture or size is None):
        raise InputShapeError(
            f"{path} leaves the input {one} open; "
            + (
                "give its height and width with --input-shape HxW, such as --input-shape 640x640"
                if picture
                else "export the model with fixed sizes to measure it"
            )
        )
    for index, value in zip(unknown, (3, *(size or ()))[-len(unknown) :], strict=False):
        sizes[index] = value
    return Input(one.name, one.element, tuple(sizes))


def _check_given(inputs: Sequence[Input], batch: int | None, size: tuple[int, int] | None) -> None:
    """Refuse options that speak of another size than the first input has."""
    sizes = inputs[0].sizes
    if batch is not None and sizes and sizes[0] != batch:
        raise OptionError(f"the batch is {batch}, but the models take {inputs[0]}; leave it out")
    if size is not None and size not in (sizes[1:3], sizes[2:4]):
        raise OptionError(
            f"the input shape says {size[0]}x{size[1]}, but the models take {inputs[0]}; "
            "leave it out"
        )
