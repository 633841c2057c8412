"""Files and folders that appear complete or not at all.

The new content is written beside its place under a temporary name, flushed to the disk and then
renamed, which a file system does in one step. Whatever interrupts the work (an error, a full disk,
Ctrl-C), the temporary is removed and what stood there before stays as it was.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, overload

from zqc.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that takes the place of ``path`` when the context ends without an error.

    Raises:
        OutputError: The folder is missing, ``path`` is no regular file, or writing fails.
    """
    check_file(path)
    with _translated(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


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
    check_parent(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; give the name of a folder")
    with _translated(path):
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        old = temporary.with_name(f"{temporary.name}.old")
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            _take_place(temporary, path, old, replaced)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def check_file(path: Path) -> None:
    """Raise OutputError, before long work begins, if a file cannot be written at ``path``."""
    check_parent(path)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no regular file, so it cannot be replaced")


def check_parent(path: Path) -> None:
    """Raise OutputError if the folder of ``path`` is missing or cannot be written to."""
    parent = path.parent
    if not parent.exists():
        raise OutputError(f"folder {parent} does not exist; make it first: mkdir -p {parent}")
    if not parent.is_dir():
        raise OutputError(f"{parent} is no folder, so {path.name} cannot be written in it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"no permission to write in {parent}; choose another folder with -o")


def _take_place(new: Path, path: Path, old: Path, replaced: Collection[str]) -> None:
    if not path.exists():
        new.replace(path)
        return
    foreign = sorted(_entries(path) - _entries(new) - set(replaced))
    if foreign:
        raise OutputError(
            f"folder {path} holds other files ({foreign[0]}{', …' if foreign[1:] else ''}); "
            "give a new or an empty folder"
        )
    try:
        path.replace(old)
        new.replace(path)
    except BaseException:  # Ctrl-C between the two steps, too
        if old.exists() and not path.exists():
            old.replace(path)
        raise


def _entries(folder: Path) -> set[str]:
    """Everything in a folder and below it, by its path in it."""
    return {entry.relative_to(folder).as_posix() for entry in folder.rglob("*")}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Raise what the operating system says about writing as OutputError."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            message = f"no space left on the device of {path}; free some or write elsewhere with -o"
        else:
            message = f"cannot write {path}: {error.strerror or error}"
        raise OutputError(message) from error


def _umask() -> int:
    """The mask of new files: ``mkstemp`` and ``mkdtemp`` give theirs to the owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


FilePath = str | os.PathLike[str]
"""What names a file or a folder, as users of the Python interface write it."""


@overload
def to_path(path: FilePath) -> Path: ...


@overload
def to_path(path: FilePath | None) -> Path | None: ...


def to_path(path: FilePath | None) -> Path | None:
    """Return the path that is meant; None where there is none."""
    return None if path is None else Path(path)
