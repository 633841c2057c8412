"""Pictures from disk as input tensors, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
from PIL import Image

from zqc.errors import ImageError, OptionError, OutputError
from zqc.parsing.arrays import array_of, opened_npz, read_npy
from zqc.parsing.text import ParseError
from zqc.pictures.input_format import FitMode, InputFormat
from zqc.pictures.picture_file import picture_size, read_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from zqc.detection.losses.assignment import Objects

    Read = Callable[[int, int], tuple[NDArray[np.float32], tuple["PicturePlacement", ...]]]

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_PADDING = 114  # the grey that YOLO letterboxes with


@dataclass(frozen=True)
class PicturePlacement:
    """Where a picture lies in the model's input: ``input = picture * scale + (left, top)``.

    Attributes:
        scale_x: Input pixels per picture pixel, horizontally.
        scale_y: The same, vertically.
        left: Padding on the left, in input pixels.
        top: Padding above.
        width: Width of the picture, in its own pixels.
        height: Its height.
    """

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int

    def window(self, height: int, width: int) -> tuple[float, float, float, float]:
        """What rectangle the whole input covers, in pixels of the picture.

        Args:
            height: Height of the input.
            width: Its width.

        Returns:
            (x1, y1, x2, y2), beyond the picture where there is padding.
        """
        return (
            -self.left / self.scale_x,
            -self.top / self.scale_y,
            (width - self.left) / self.scale_x,
            (height - self.top) / self.scale_y,
        )


@dataclass(frozen=True)
class ImageSet:
    """Input tensors that can be read several times; only one batch is decoded at a time.

    Attributes:
        names: File name of each picture (with its suffix), or ``"0"``, ``"1"``, … of tensors.
        source: Where they come from, in words.
        read: Reads the pictures from start to stop as N,C,H,W and how each was placed.
        synthesised: Whether they were made from statistics of the training pictures.
        noise: How many of the last ones are structured noise beside others.
        files: The files of the pictures, where each is one.
        losses: Loss of the whole set before the first and after each pass of the synthesis that
            made them; empty where none did.
        caution: What speaks against relying on them, in one line; empty where nothing does.
        labels: What each picture shows, None where that is not known; empty where it is of none,
            and shorter where it is not of the last ones.
        kept: Whether they were synthesised by an earlier compilation.
    """

    names: tuple[str, ...]
    source: str
    read: Read
    synthesised: bool = False
    noise: int = 0
    files: tuple[Path, ...] = ()
    losses: tuple[float, ...] = ()
    caution: str = ""
    labels: tuple[Objects | None, ...] = ()
    kept: bool = False

    @classmethod
    def of_tensors(
        cls,
        tensors: NDArray[np.floating],
        source: str,
        *,
        synthesised: bool = False,
        noise: int = 0,
        losses: tuple[float, ...] = (),
        caution: str = "",
        labels: tuple[Objects | None, ...] = (),
        kept: bool = False,
    ) -> ImageSet:
        """Wrap ready input tensors N,C,H,W."""
        names = tuple(map(str, range(len(tensors))))
        whole = PicturePlacement(1.0, 1.0, 0, 0, tensors.shape[3], tensors.shape[2])
        return cls(
            names,
            source,
            lambda start, stop: (
                np.ascontiguousarray(tensors[start:stop], np.float32),
                (whole,) * (stop - start),
            ),
            synthesised,
            noise,
            losses=losses,
            caution=caution,
            labels=labels,
            kept=kept,
        )

    def __len__(self) -> int:
        return len(self.names)

    def without_noise(self) -> ImageSet:
        """Return what there is beside structured noise, in which there is nothing to detect."""
        return replace(self, names=self.names[: len(self) - self.noise], noise=0)

    @property
    def kinds(self) -> tuple[ImageSet, ...]:
        """What there is beside structured noise, and the noise; all of it where there is none."""
        if not 0 < self.noise < len(self):
            return (self,)
        made = self.without_noise()
        first = len(made)
        free = replace(
            self,
            names=self.names[first:],
            read=lambda start, stop: self.read(first + start, first + stop),
            noise=0,
        )
        return made, free

    def rounded(self) -> ImageSet:
        """Return the same pictures in whole numbers."""

        def read(start: int, stop: int) -> tuple[NDArray[np.float32], tuple[PicturePlacement, ...]]:
            tensors, placements = self.read(start, stop)
            return np.rint(tensors), placements

        return replace(self, read=read)

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """Read arrays N,C,H,W with N = ``size``; the last one may be shorter."""
        return (tensors for tensors, _ in self.placed_batches(size))

    def placed_batches(
        self, size: int
    ) -> Iterator[tuple[NDArray[np.float32], tuple[PicturePlacement, ...]]]:
        """Read batches together with the placement of each picture."""
        for start in range(0, len(self), size):
            yield self.read(start, min(start + size, len(self)))


def fit(
    pixels: NDArray[np.uint8], height: int, width: int, mode: FitMode = "letterbox"
) -> tuple[NDArray[np.uint8], PicturePlacement]:
    """Bring a picture to the size of the model's input, antialiased.

    Args:
        pixels: Shape (h, w, channels) with 1 or 3 channels.
        height: Height of the input.
        width: Width of the input.
        mode: ``letterbox`` keeps the proportions and centres the picture on grey 114 (as YOLO
            does); ``letterbox-top-left`` puts it into the upper left corner of it (as YOLOX
            does); ``stretch`` fills the input.

    Returns:
        Pixels of shape (height, width, channels), and where the picture lies in them.
    """
    if mode not in get_args(FitMode):
        raise OptionError(f"unknown mode {mode!r}; known: {', '.join(get_args(FitMode))}")
    h, w, channels = pixels.shape
    scale = min(height / h, width / w)
    inner = (height, width)
    if mode != "stretch":
        inner = (max(1, round(h * scale)), max(1, round(w * scale)))
    resized = pixels
    if inner != (h, w):
        picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        picture = picture.resize(inner[::-1], Image.Resampling.BILINEAR)
        resized = np.asarray(picture, np.uint8).reshape(*inner, channels)
    top, left = 0, 0
    if mode == "letterbox":
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = np.full((height, width, channels), _PADDING, np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = resized
    return canvas, PicturePlacement(inner[1] / w, inner[0] / h, left, top, w, h)


def open_images(
    path: Path | NDArray[np.generic],
    *,
    channels: int,
    height: int,
    width: int,
    input_format: InputFormat,
    mode: FitMode = "letterbox",
    limit: int | None = None,
    input_name: str | None = None,
) -> ImageSet:
    """Open pictures as input tensors.

    Args:
        path: A folder of pictures (sorted by name, sub-folders left out), one picture, or an
            ``.npy``/``.npz`` of an array: float N,C,H,W is taken as ready tensors, uint8 N,H,W,C
            as pixels, and each in the order of the other where the shape leaves no doubt. In an
            ``.npz`` the array is the one named ``input_name``, else ``images``, else the only one;
            an array ``synthesised`` beside it is the mark of ``write_tensors``. Or such an array
            itself.
        channels: Channels of the model's input: 3, or 1 for luminance.
        height: Its height.
        width: Its width.
        input_format: How pixels become tensor values.
        mode: How pictures of another size are fitted.
        limit: Use only the first so many.
        input_name: Name of the model's input.

    Raises:
        ImageError: Nothing there, a file that is no picture, or the wrong shape.
        OptionError: The limit is below 1, or the format does not fit the channels.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the limit is {limit}, but at least 1 picture is needed")
    input_format.bounds(channels)

    def tensors(
        pictures: Sequence[NDArray[np.uint8]],
    ) -> tuple[NDArray[np.float32], tuple[PicturePlacement, ...]]:
        fitted = [fit(_channels(p, channels), height, width, mode) for p in pictures]
        stacked = np.stack([pixels for pixels, _ in fitted])
        return input_format.to_tensor(stacked), tuple(placement for _, placement in fitted)

    if _is_array(path):
        where = path if isinstance(path, Path) else "an array"
        array = _arranged(np.atleast_1d(_read_array(path, input_name)), (channels, height, width))
        array = array[:limit] if array.ndim == 4 else array
        names = tuple(map(str, range(len(array))))
        if array.dtype == np.uint8:
            _check_pixels(array, where)
            pixels = array.astype(np.uint8, copy=False)
            source = f"{_count(len(names), 'picture')} from {where}"
            return ImageSet(names, source, lambda start, stop: tensors(list(pixels[start:stop])))
        _check_tensors(array, (channels, height, width), where)
        source = f"{_count(len(array), 'tensor')} from {where}"
        floats = cast("NDArray[np.floating]", array)
        made = _synthesised(path, len(array))
        noise = len(array) - made if made else 0
        return ImageSet.of_tensors(floats, source, synthesised=made > 0, noise=noise)
    assert isinstance(path, Path)  # arrays are done with
    if channels not in (1, 3):
        raise ImageError(
            f"the model's input has {channels} channels, but pictures have 3; give an .npz of "
            f"ready tensors of shape N x {channels} x {height} x {width}"
        )
    files = _picture_files(path)[:limit]
    for file in files:  # one that is none is told before the work, and is not counted
        picture_size(file)
    return ImageSet(
        tuple(file.name for file in files),
        f"{_count(len(files), 'picture')} from {path}",
        lambda start, stop: tensors([read_picture(file) for file in files[start:stop]]),
        files=files,
    )


def holds_tensors(path: Path | NDArray[np.generic], input_name: str | None = None) -> bool:
    """Whether what ``open_images`` reads there is ready tensors, so that no format is applied.

    Raises:
        ImageError: It is an array file that cannot be read.
    """
    return _is_array(path) and _read_array(path, input_name).dtype != np.uint8


def write_tensors(
    file: Path, tensors: NDArray[np.float32], *, synthesised: bool, noise: int = 0
) -> None:
    """Write tensors N,C,H,W as an ``.npz``, and which of them are synthesised from statistics.

    Args:
        file: The file.
        tensors: The pictures.
        synthesised: Whether any are.
        noise: How many of the last ones are structured noise beside others.
    """
    made = synthesised & (np.arange(len(tensors)) < len(tensors) - noise)
    np.savez(file, images=tensors, synthesised=made)


def write_pngs(
    directory: Path, tensors: NDArray[np.float32], input_format: InputFormat
) -> tuple[Path, ...]:
    """Write tensors N,C,H,W as ``000.png``, ``001.png``, … into a folder.

    Raises:
        ImageError: The tensors do not have 1 or 3 channels.
        OutputError: The folder cannot be written.
    """
    if tensors.shape[1] not in (1, 3):
        raise ImageError(f"tensors of {tensors.shape[1]} channels cannot be drawn; 1 or 3 can")
    files = tuple(directory / name for name in png_names(len(tensors)))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, tensor in zip(files, tensors, strict=True):
            pixels = input_format.to_pixels(tensor)
            Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file)
    except OSError as error:
        raise OutputError(f"cannot write pictures into {directory}: {error}") from error
    return files


def png_names(count: int) -> tuple[str, ...]:
    """What ``write_pngs`` calls so many pictures."""
    digits = max(3, len(str(count - 1)))
    return tuple(f"{index:0{digits}}.png" for index in range(count))


def _picture_files(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    if not path.exists():
        raise ImageError(f"{path} does not exist; give a folder of pictures, a picture or an .npz")
    try:
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    except OSError as error:
        raise ImageError(f"cannot read the folder {path}: {error}") from error
    if not files:
        raise ImageError(f"no pictures in {path}; looked for {', '.join(SUFFIXES)}")
    return tuple(files)


def _is_array(path: Path | NDArray[np.generic]) -> bool:
    return not isinstance(path, Path) or path.suffix.lower() in (".npy", ".npz")


def _read_array(path: Path | NDArray[np.generic], input_name: str | None) -> NDArray[np.generic]:
    if not isinstance(path, Path):
        return path
    if not path.is_file():
        raise ImageError(f"{path} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            return read_npy(path, mapped=True)
        with opened_npz(path) as archive:
            known = ("images",) if input_name is None else (input_name, "images")
            wanted = [key for key in known if key in archive.files]
            keys = wanted or archive.files
            if not wanted and len(keys) != 1:
                raise ImageError(
                    f"{path} holds {len(keys)} arrays ({', '.join(keys)}); name the one to use "
                    f"{' or '.join(known)}"
                )
            return array_of(archive, keys[0])
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
    except ParseError as error:
        raise ImageError(f"{path} {error}") from error


def _synthesised(path: Path | NDArray[np.generic], count: int) -> int:
    """How many of so many first tensors of a file that can be read are marked as synthesised.

    One mark is for all of them, and noise stands behind them.
    """
    if not isinstance(path, Path) or path.suffix.lower() == ".npy":
        return 0
    with opened_npz(path) as archive:
        if "synthesised" not in archive.files:
            return 0
        try:
            return int(np.count_nonzero(np.resize(array_of(archive, "synthesised"), count)))
        except ParseError as error:
            raise ImageError(f"{path} {error}") from error


def _arranged(array: NDArray[np.generic], picture: tuple[int, int, int]) -> NDArray[np.generic]:
    """Put channels last in pixels and first in tensors: models take either."""
    channels, height, width = picture
    if array.ndim != 4:
        return array
    if array.dtype == np.uint8:
        is_first = array.shape[1] in (1, 3) and array.shape[3] not in (1, 3)
        return np.moveaxis(array, 1, 3) if is_first else array
    is_last = array.shape[1:] == (height, width, channels) != picture
    return np.moveaxis(array, 3, 1) if is_last else array


def _check_pixels(array: NDArray[np.generic], path: Path | str) -> None:
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise ImageError(
            f"{path} holds 8-bit pixels of shape {_shape(array)}; expected N x H x W x 3 (or x 1)"
        )


def _check_tensors(
    array: NDArray[np.generic], shape: tuple[int, int, int], path: Path | str
) -> None:
    expected = " x ".join(map(str, ("N", *shape)))
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"{path} holds {array.dtype} values; expected float tensors {expected} or uint8 pixels"
        )
    if array.ndim != 4 or array.shape[1:] != shape or len(array) == 0:
        raise ImageError(f"{path} holds tensors of shape {_shape(array)}; expected {expected}")
    for index, tensor in enumerate(array):
        if not np.isfinite(tensor).all():
            raise ImageError(f"tensor {index} of {path} holds NaN or infinity; write it again")


def _channels(pixels: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 1:  # ITU-R 601 luminance, as cameras and OpenCV compute it
        return np.asarray(Image.fromarray(pixels).convert("L"), np.uint8)[:, :, None]
    return np.repeat(pixels, channels, axis=2)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shape(array: NDArray[np.generic]) -> str:
    return " x ".join(map(str, array.shape)) or "()"
