"""One picture from a file, upright and as RGB, whatever kind of pixels it holds."""

from __future__ import annotations

import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zqc.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for, whatever its name: formats of pixels, whose decoders start no
other program."""

MOST_PIXELS = 178_956_970
"""The limit of Pillow, 13,377 × 13,377: a small file can hold as many of one colour as it likes."""

_LYING = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB, shape (height, width, 3).

    The EXIF orientation is applied, 16-bit grey is scaled to 8 bits, an alpha channel is dropped.
    Of a file with several pictures the first one is taken, and the log says so.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, has more than
            ``MOST_PIXELS``, or holds float pixels.
    """
    with _opened(path) as file:
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":  # the JPEG of phones, with a second one inside
            _say_frames(path, frames)
        picture = ImageOps.exif_transpose(file)
        if picture.mode == "F":
            raise ImageError(f"{path} holds float pixels; save it with 8 or 16 bits")
        if picture.mode.startswith("I"):  # 16-bit grey; mode I in older Pillow
            wide = np.asarray(picture).astype(np.float64)
            grey = np.clip(np.rint(wide / 257), 0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(picture.convert("RGB"), np.uint8)


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture as ``read_picture`` reads it; no pixel is decoded.

    Raises:
        ImageError: The file is missing or is not a picture.
    """
    with _opened(path) as file:
        turned = file.getexif().get(ExifTags.Base.Orientation, 1) in _LYING
        return (file.height, file.width) if turned else (file.width, file.height)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever goes wrong with it from then on is an ImageError in one line."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError as error:
        raise ImageError(f"picture {path} does not exist") from error
    except (OSError, ValueError) as error:  # such as a name that is too long, or none
        raise ImageError(f"cannot read {path}: {error}") from error
    if not stat.S_ISREG(kind):
        raise ImageError(f"{path} is no picture, but a folder, a pipe or a device")
    try:
        with warnings.catch_warnings():  # of Pillow, on what it makes of odd files
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                yield file
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} has more than {MOST_PIXELS / 1e6:.0f} million pixels; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"cannot read {path} as a picture: it is none, or not in a format that is read: "
            f"{', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # decoders raise all kinds where a file is damaged
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageError(f"cannot read {path} as a picture: it is damaged ({said})") from error


@cache
def _say_frames(path: Path, frames: int) -> None:
    logger.warning("%s holds %d pictures, the first one is taken", path, frames)
