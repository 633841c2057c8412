"""Files and folders that appear complete or not at all.

The new content is written beside its place under a temporary name, flushed to the disk and then
renamed, which a file system does in one step. Whatever interrupts the work (an error, a full disk,
Ctrl-C), the temporary is removed and what stood there before stays as it was; after a kill the next
run does so, see ``leftovers``. A link stays, and what it leads to is replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from zqc.files.leftovers import NEW, OLD, temporary
from zqc.files.outputs import appear
from zqc.files.places import (
    check_directory,
    check_file,
    check_foreign,
    entries,
    real_place,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the context ends without an error.

    Raises:
        OutputError: The folder is missing, ``path`` is no regular file, or writing fails.
    """
    check_file(path)
    place = real_place(path)
    with translated(path), temporary(place) as new:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        appear(new, place, path)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all.

    Bytes of file names that are no text, which Python holds as halves of surrogate pairs, become
    question marks.

    Raises:
        OutputError: See ``atomic_write``.
    """
    with atomic_write(path) as file:
        file.write(text.encode(errors="replace"))


@contextmanager
def atomic_directory(path: Path, *, replaced: Collection[str] = ()) -> Iterator[Path]:
    """Make a folder that takes the place of ``path`` when the context ends without an error.

    A folder that stands there already is replaced only if the new one has all of its files, those
    in folders below included, so that running the same command twice works and nobody's files are
    lost.

    Args:
        path: The folder.
        replaced: Names of files that may go with the old folder though the new one lacks them.

    Raises:
        OutputError: The parent is missing, ``path`` is a file or holds other files, or writing
            fails.
    """
    check_directory(path)
    place = real_place(path)
    with translated(path), temporary(place, folder=True) as folder:
        new, old = folder / NEW, folder / OLD
        new.mkdir()
        yield new
        while not _takes_place(new, old, place, path, replaced):
            shutil.rmtree(old, ignore_errors=True)


def _takes_place(new: Path, old: Path, place: Path, path: Path, replaced: Collection[str]) -> bool:
    """Put a folder in its place, from where an older one goes.

    Returns:
        Whether that worked; else another process has put one there meanwhile, and who comes last
        wins.
    """
    with suppress(FileNotFoundError):  # there is none, or another process has just taken it away
        check_foreign(path, entries(place) - entries(new) - set(replaced))
        place.replace(old)  # back again with the temporary where the next step fails
    try:
        appear(new, place, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True
