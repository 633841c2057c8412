"""Files that spare work the second time: bounded in size, and never a reason to fail.

Each appears whole or not at all, so that any number of processes can share them. What cannot be
read is as if it were not there; what cannot be written is not kept, and the log says so once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from zqc.files.leftovers import clear, temporary

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MOST_BYTES = 2_000_000_000


def user_cache() -> Path | None:
    """The folder for files of zqc that can be made again; None where the user has no home.

    ``$XDG_CACHE_HOME/zqc`` wherever that is set, else what the system has for it.
    """
    asked = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if asked.is_absolute():  # others do not count, says the XDG Base Directory Specification
        return asked / "zqc"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "zqc" / "Cache"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "zqc"


class Store:
    """Files in a folder, of which those that were not used for the longest time go first.

    Args:
        folder: The folder; it need not be there.
        most: Bytes of all files together.
    """

    def __init__(self, folder: Path, most: int = _MOST_BYTES) -> None:
        self._folder, self._most = folder, most
        self._failed = False

    def read(self, name: str, read: Callable[[Path], T]) -> T | None:
        """Return what a function reads from a file; None where it is not there or fails.

        A file that makes it fail is removed.
        """
        path = self._folder / name
        try:
            if not path.is_file():
                return None
            found = read(path)
            os.utime(path)
        except Exception as error:  # whatever a damaged file makes of its reader
            logger.info("%s cannot be used: %s", path, error)
            self.remove(name)
            return None
        return found

    def write(self, name: str, write: Callable[[BinaryIO], None]) -> bool:
        """Let a function write a file; whether it is there then."""
        path = self._folder / name
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            clear(self._folder)
            with temporary(path) as place:
                with place.open("wb") as file:
                    write(file)
                place.replace(path)
            self._shrink()
            return path.exists()
        except OSError as error:
            if not self._failed:
                logger.warning("nothing is kept for the next time in %s: %s", self._folder, error)
            self._failed = True
            return False

    def remove(self, name: str) -> None:
        """Remove a file, if it is there and can be removed."""
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            logger.info("%s cannot be removed: %s", self._folder / name, error)

    def _shrink(self) -> None:
        """Remove the files that were used first, until the others are not too large."""
        found = []
        for path in self._folder.iterdir():
            if path.suffix != ".zqc":  # those that are being written
                with suppress(FileNotFoundError):  # another process has removed it
                    status = path.stat()
                    found.append((status.st_mtime_ns, status.st_size, path))
        size = sum(each for _, each, _ in found)
        for _, each, path in sorted(found):
            if size <= self._most:
                return
            self.remove(path.name)
            size -= each


def user_store(name: str) -> Store | None:
    """A store of that name in the user's cache; None where there is none."""
    folder = user_cache()
    return None if folder is None else Store(folder / name)
