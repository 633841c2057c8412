"""Whether an output can be written, settled before the work that makes it."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, overload

from zqc.errors import OutputError
from zqc.files import leftovers, outputs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

FilePath = str | os.PathLike[str]
"""What names a file or a folder, as users of the Python interface write it."""


@overload
def to_path(path: FilePath) -> Path: ...


@overload
def to_path(path: FilePath | None) -> Path | None: ...


def to_path(path: FilePath | None) -> Path | None:
    """Return the path that is meant; None where there is none."""
    return None if path is None else Path(path)


def check_file(path: Path) -> None:
    """Raise OutputError, before long work begins, if a file cannot be written at ``path``.

    What killed runs have left in its folder is removed.
    """
    with translated(path):
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file")
        if path.exists() and not path.is_file():  # such as /dev/stdout, which leads nowhere
            raise OutputError(f"{path} is no regular file, so it cannot be replaced")
        place = real_place(path)
        _check_parent(place)
        _check_replaceable(path, place)
    outputs.plan(path)


def check_directory(path: Path, names: Collection[str] | None = None) -> None:
    """Raise OutputError, before long work begins, if a folder cannot be written at ``path``.

    What killed runs have left beside it is removed, and it gets its place back where one of them
    was replacing it.

    Args:
        path: The folder.
        names: What may stand in it, by its path in the folder; anything if None.
    """
    with translated(path):
        place = real_place(path)
        there = _status(place)
        if there is not None and os.path.samestat(there, Path.cwd().stat()):
            raise OutputError(f"{path} is the current folder; give the name of another one")
        _check_parent(place)
        _check_no_file(path, there)
        if os.path.ismount(place):
            raise OutputError(f"a drive is mounted at {path}; give the name of a folder in it")
        _check_replaceable(path, place)
        if names is not None and place.exists():
            check_foreign(path, entries(place) - set(names))
    outputs.plan(path)


def make_folder(path: Path) -> bool:
    """Make a folder that files are put into one by one, unless it is there.

    Returns:
        Whether it was made.

    Raises:
        OutputError: It cannot be made, or something else stands there.
    """
    with translated(path):
        place = real_place(path)
        there = _status(place)
        _check_no_file(path, there)
        if there is None:
            _check_parent(place)
            place.mkdir()
    return there is None


def check_name(path: Path) -> None:
    """Raise OutputError if a file cannot be called so."""
    with translated(path), suppress(FileNotFoundError):
        path.lstat()


def _status(place: Path) -> os.stat_result | None:
    """What stands there, asked once: another process may take it away and put it back any time."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return place.stat()
    return None


def check_foreign(path: Path, foreign: Collection[str]) -> None:
    """Raise OutputError if a folder holds other files than the new one."""
    if foreign:
        first, *more = sorted(foreign)
        raise OutputError(
            f"folder {path} holds other files ({first}{', …' if more else ''}); "
            "give a new or an empty folder"
        )


def check_space(path: Path, needed: float) -> None:
    """Raise OutputError if so many bytes do not fit where ``path`` is to be written."""
    with translated(path):
        free = shutil.disk_usage(real_place(path).parent).free
    if free < needed:
        raise OutputError(
            f"no space left for {path}: about {_size(needed)} are needed, and "
            f"{_size(free)} are free; free some or write elsewhere with -o"
        )


def real_place(path: Path) -> Path:
    """Where an output goes: through a link, to what it leads to.

    Raises:
        OutputError: Links lead in a circle.
    """
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OutputError(f"{path} is a link that leads in a circle; remove it")
    return place


def entries(folder: Path) -> set[str]:
    """Everything in a folder and below it, by its path in it."""
    return {entry.relative_to(folder).as_posix() for entry in folder.rglob("*")}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what the operating system says about writing as OutputError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            message = f"no space left on the device of {path}; free some or write elsewhere with -o"
        elif error.errno == errno.ENAMETOOLONG:
            message = f"the name of {path} is too long for a file; give a shorter one"
        else:
            message = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(message) from error


def _check_no_file(path: Path, there: os.stat_result | None) -> None:
    """Raise OutputError where something other than a folder stands in the place of one."""
    if there is not None and not stat.S_ISDIR(there.st_mode):
        raise OutputError(f"{path} is a file; give the name of a folder")


def _check_parent(place: Path) -> None:
    """Raise OutputError if its folder is missing or cannot be written to; OSError likewise."""
    parent = place.parent
    if not parent.exists():
        command = f"mkdir -p {shlex.quote(str(parent))}"
        raise OutputError(f"folder {parent} does not exist; make it first: {command}")
    if not parent.is_dir():
        raise OutputError(f"{parent} is no folder, so {place.name} cannot be written in it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"no permission to write in {parent}; choose another folder with -o")
    leftovers.clear(parent)
    with tempfile.TemporaryFile(dir=parent):  # what permissions do not say, a file does
        pass


def _check_replaceable(path: Path, place: Path) -> None:
    writable = os.access(place, os.W_OK)
    # Where another process was replacing it, there is one again that can be written to.
    if not writable and place.exists() and not os.access(place, os.W_OK):
        raise OutputError(f"{path} is write-protected; remove it or give another name")


def _size(size: float) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
