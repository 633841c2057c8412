"""Keeps what C++ code prints off the standard streams, where results and progress stand."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextmanager
def output_logged(library: str) -> Iterator[None]:
    """Send what a library prints, from C++ too, to the log at debug level."""
    with tempfile.TemporaryFile() as printed:
        saved = [os.dup(descriptor) for descriptor in (1, 2)]
        try:
            for descriptor in (1, 2):
                os.dup2(printed.fileno(), descriptor)
            yield
        finally:
            for descriptor, original in zip((1, 2), saved, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
            printed.seek(0)
            if text := printed.read().decode(errors="replace").strip():
                logger.debug("%s printed: %s", library, text)
