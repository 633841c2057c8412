"""Paths as users of the Python interface write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import overload

FilePath = str | os.PathLike[str]
"""What names a file or a folder."""


@overload
def to_path(path: FilePath) -> Path: ...


@overload
def to_path(path: FilePath | None) -> Path | None: ...


def to_path(path: FilePath | None) -> Path | None:
    """Return the path that is meant; None where there is none."""
    return None if path is None else Path(path)
