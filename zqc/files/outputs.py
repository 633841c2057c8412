"""What a command was to write, and what of it is there: for who tells how the command ended."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class _Appearance:
    """A file or folder that is renamed to its place.

    Attributes:
        path: What the user calls it.
        place: Where it goes.
        status: What it was before; a rename keeps its identity.
        done: Whether the rename came back, for file systems where it does not.
    """

    path: Path
    place: Path
    status: os.stat_result
    done: bool = False

    def is_there(self) -> bool:
        try:
            return self.done or os.path.samestat(self.status, self.place.stat())
        except OSError:
            return False


@dataclass
class _Notes:
    planned: list[Path] = field(default_factory=list)
    appearances: list[_Appearance] = field(default_factory=list)


_notes: ContextVar[_Notes | None] = ContextVar("notes", default=None)


@contextmanager
def noting_outputs() -> Iterator[None]:
    """Note what shall appear and what does until the context ends."""
    token = _notes.set(_Notes())
    try:
        yield
    finally:
        _notes.reset(token)


def plan(path: Path) -> None:
    """Note that a file or folder is going to be written."""
    if (notes := _notes.get()) is not None:
        notes.planned.append(path)


def appear(new: Path, place: Path, path: Path) -> None:
    """Rename what was made to its place; whenever a signal comes, it is known whether that is done.

    Args:
        new: What was made.
        place: Where it goes.
        path: What the user calls that.

    Raises:
        OSError: It cannot be renamed.
    """
    appearance = _Appearance(path, place, new.stat())
    if (notes := _notes.get()) is not None:
        notes.appearances.append(appearance)
    new.replace(place)
    appearance.done = True


def written() -> tuple[Path, ...]:
    """The files and folders that appeared so far, in that order, if they are noted."""
    notes = _notes.get() or _Notes()
    return tuple(dict.fromkeys(one.path for one in notes.appearances if one.is_there()))


def missing() -> tuple[Path, ...]:
    """Those that were planned and did not appear; older ones may stand in their places."""
    notes, there = _notes.get() or _Notes(), written()
    return tuple(path for path in dict.fromkeys(notes.planned) if path not in there)
