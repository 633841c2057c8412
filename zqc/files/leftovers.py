"""Temporaries beside outputs, and what a run that was killed has left of them.

Every output is made under a temporary name beside its place. Whoever makes it holds a lock on it,
which the system takes back when a process ends, however it ends. So a temporary whose lock is free
belongs to nobody, and the next run that writes into the same folder removes it. Where there are no
such locks, as on Windows, nothing is removed.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl

logger = logging.getLogger(__name__)

_NAME = re.compile(r"\.(?P<of>.+)\.[0-9a-f]{12}\.zqc", re.DOTALL)
_LONGEST = 200
"""Bytes of an output's name in that of its temporary, so that this fits wherever that does."""

NEW, OLD = "new", "old"
"""In the temporary of a folder: what takes its place, and what had it."""


@contextmanager
def temporary(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty file or folder beside an output; what is still there at the end is removed.

    Args:
        path: The output.
        folder: Whether it is a folder. What stands in its temporary as ``OLD`` then takes its
            place again where nothing else has.

    Raises:
        OSError: It cannot be made.
    """
    place = path.with_name(f".{_shortened(path.name)}.{secrets.token_hex(6)}.zqc")
    if folder:
        place.mkdir(0o700)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    lock = _lock(place, wait=True)
    if lock is None and not place.exists():  # another run was faster, and took it for a leftover
        with temporary(path, folder=folder) as again:
            yield again
        return
    try:
        yield place
    finally:
        _remove(place, path)
        _unlock(lock)


def clear(folder: Path) -> None:
    """Remove from a folder what runs have left that were killed.

    A folder that was killed while it was replaced gets its place back. What cannot be removed
    stays.
    """
    if sys.platform == "win32":
        return
    with suppress(OSError), os.scandir(folder) as entries:
        found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name))]
        for entry, match in found:
            if entry.is_symlink() or entry.stat().st_uid != os.geteuid():
                continue
            place = Path(entry.path)
            if (lock := _lock(place)) is not None:
                _remove(place, folder / match["of"])
                _unlock(lock)


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


def _remove(place: Path, path: Path) -> None:
    """Remove a temporary; what it had to replace first takes its place again if it is free."""
    old = place / OLD
    with suppress(OSError):
        if not place.is_dir():
            place.unlink(missing_ok=True)
            return
        if old.exists() and not path.exists():
            old.replace(path)
            logger.warning("%s is back: a run ended while it replaced it", path)
        shutil.rmtree(place, ignore_errors=True)


def _lock(place: Path, *, wait: bool = False) -> int | None:
    """Lock a temporary; None where that cannot be done, or it is gone.

    Args:
        place: The temporary.
        wait: Whether to wait for who has it locked; else it cannot be done then.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(descriptor), place.lstat()):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
