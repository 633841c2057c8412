"""What may be read: files and folders, and nothing that may never come to an end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, overload

from zqc.errors import OptionError

if TYPE_CHECKING:
    from zqc.files.places import FilePath


@overload
def input_path(path: FilePath) -> Path: ...


@overload
def input_path(path: FilePath | None) -> Path | None: ...


def input_path(path: FilePath | None) -> Path | None:
    """Return the path of what is read; None where there is none.

    Raises:
        OptionError: It is a pipe, a socket or a device, or ``-`` for the standard input.
    """
    if path is None:
        return None
    found = Path(path)
    try:
        special = found.exists() and not (found.is_file() or found.is_dir())
    except OSError:  # who reads it says what is the matter
        special = False
    if special or (str(found) == "-" and not found.exists()):
        what = "the standard input" if str(found) == "-" else "a pipe or a device"
        raise OptionError(f"{found} is {what}; write what it gives into a file first")
    return found
