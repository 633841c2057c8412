"""What two models are fed with: both the same, random in the input's range, or pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zqc.errors import InputShapeError, ModelError, OptionError
from zqc.pictures.images import open_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zqc.pictures.input_format import InputFormat
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


def random_feeds(
    inputs: Sequence[Input], input_format: InputFormat
) -> dict[str, NDArray[np.generic]]:
    """Fill inputs: 8-bit integers with any values, other integers (sizes, counts) with ones.

    Floats of four dimensions are pixels, uniform in the range of the input format; other floats are
    uniform in 0:1.

    Args:
        inputs: With fixed sizes.
        input_format: How pixels become values.

    Raises:
        ModelError: An input has a type that nothing is known to fill it with.
    """
    rng = np.random.default_rng(0)
    feeds: dict[str, NDArray[np.generic]] = {}
    for one in inputs:
        shape = tuple(size for size in one.sizes if isinstance(size, int))
        dtype = _DTYPES.get(one.element)
        if dtype is None:
            raise ModelError(
                f"the input {one} cannot be filled; models with inputs of "
                f"{', '.join(_DTYPES)} can be measured"
            )
        if dtype in (np.uint8, np.int8):
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
    inputs: Sequence[Input], images: Path | NDArray[np.generic], input_format: InputFormat
) -> dict[str, NDArray[np.generic]]:
    """Fill the one input of a detector with the first pictures; too few are repeated.

    Raises:
        ModelError: There are other inputs than one of float32, N x C x H x W.
        ImageError: The pictures cannot be used.
    """
    sizes = [size for one in inputs for size in one.sizes if isinstance(size, int)]
    if len(inputs) != 1 or len(sizes) != 4 or inputs[0].element != "tensor(float)":
        listed = ", ".join(map(str, inputs))
        raise ModelError(
            f"pictures need a single input of float32, N x C x H x W, and there is {listed}; leave "
            "the pictures out"
        )
    batch, channels, height, width = sizes
    pictures = open_images(
        images,
        channels=channels,
        height=height,
        width=width,
        input_format=input_format,
        limit=batch,
        input_name=inputs[0].name,
    )
    tensors = next(pictures.batches(batch))
    return {inputs[0].name: np.resize(tensors, (batch, *tensors.shape[1:]))}


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
