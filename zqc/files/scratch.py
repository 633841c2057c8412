"""A folder for what only one process needs for a while."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zqc.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_FREE = 100_000
"""Bytes: with fewer, what fails in the folder fails for want of space."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder where the system has such ones; it goes with the context.

    Raises:
        OutputError: There is no place for it, or no space is left there. The message names it, and
            ``TMPDIR``.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix="zqc-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(
            f"no folder for temporary files can be made: {error.strerror or error}; set TMPDIR to "
            "a folder that can be written to"
        ) from error
    with made as name:
        try:
            yield Path(name)
        except Exception as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            if full or shutil.disk_usage(name).free < _LEAST_FREE:
                raise OutputError(
                    f"no space is left for temporary files in {Path(name).parent}; free some, or "
                    "set TMPDIR to another folder"
                ) from error
            raise
