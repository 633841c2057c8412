"""NumPy's files: never a pickle, never more than a machine holds, with errors in plain words."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zqc.parsing.text import ParseError

if TYPE_CHECKING:
    from numpy.lib.npyio import NpzFile
    from numpy.typing import NDArray

MOST_BYTES = 2**33
"""Of one array: what compresses well can be a hundred times the file."""


def read_npy(path: Path, *, mapped: bool = False) -> NDArray[np.generic]:
    """Read an ``.npy``.

    Args:
        path: The file.
        mapped: Whether the values are only read where they are used.

    Raises:
        ParseError: It is something else, damaged, or holds objects.
        OSError: It cannot be read.
    """
    with _explained("an .npy"):
        _check_file(path)
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) is None:
                raise ValueError
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        return _numbers(array)


@contextmanager
def opened_npz(path: Path) -> Iterator[NpzFile]:
    """Open an ``.npz``; ``array_of`` reads what is in it.

    Raises:
        ParseError: It is something else, or damaged.
        OSError: It cannot be read.
    """
    with _explained("an .npz"):
        _check_file(path)
        if not zipfile.is_zipfile(path):
            raise ValueError
        archive = np.load(path, allow_pickle=False)
    with archive:
        yield archive


def array_of(archive: NpzFile, key: str) -> NDArray[np.generic]:
    """Read an array of an archive.

    Raises:
        ParseError: It is damaged, encrypted, larger than ``MOST_BYTES``, or holds objects.
    """
    with _explained("an .npz"):
        whole = archive.zip
        assert whole is not None  # it is closed only behind the context
        info = whole.getinfo(key if key in whole.namelist() else f"{key}.npy")
        if info.flag_bits & 1:
            raise ParseError(f"has the array {key!r} encrypted; write it without a password")
        if info.file_size > MOST_BYTES:
            raise ParseError(
                f"has the array {key!r} of {info.file_size / 2**30:,.0f} GB, but at most "
                f"{MOST_BYTES >> 30} GB are read"
            )
        return _numbers(archive[key])


def _check_file(path: Path) -> None:
    path.stat()
    if not path.is_file():
        raise ParseError("is no regular file")


def _numbers(array: object) -> NDArray[np.generic]:
    if (
        not isinstance(array, np.ndarray)
        or array.dtype.hasobject
        or array.dtype.kind not in "biufc"
    ):
        raise ParseError("holds something else than numbers")
    return array


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (ParseError, OSError):
        raise
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise all kinds
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise ParseError("holds Python objects, which are not read; save numbers") from error
        raise ParseError(f"is damaged, or not {what} as NumPy writes it") from error
