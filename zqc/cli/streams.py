"""Standard streams that take whatever is written: no terminal, a full disk, a reader that left.

A result that cannot be shown must not be the end of the work that made it. So a stream that fails
goes on as if nothing had happened, and is asked for its failure at the end.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO


def set_up() -> None:
    """Put such streams in the place of the standard ones, in UTF-8 whatever the locale says.

    Arrows and names of files must not be errors. Names that are no UTF-8 come out as they are.
    """
    for descriptor in range(3):  # closed ones would be given to the next files that are opened
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout = _taking_all(sys.stdout, "surrogateescape")
    sys.stderr = _taking_all(sys.stderr, "backslashreplace")


def failure(stream: TextIO) -> OSError | None:
    """Why a stream of ``set_up`` shows no more; None where it does, and for any other stream."""
    if not isinstance(stream, _TakesAll):
        return None
    stream.flush()
    return stream.failure


def has_left(error: OSError) -> bool:
    """Whether the reader left of its own, as in ``zqc inspect model.onnx | head -1``."""
    return error.errno in (errno.EPIPE, errno.ECONNRESET)


def is_closed(stream: TextIO) -> bool:
    """Whether a stream of ``set_up`` was closed when the process started, as ``zqc … >&-`` does."""
    return isinstance(stream, _Nowhere)


class _TakesAll(io.TextIOWrapper):
    """Writes until that fails once; what comes then goes nowhere."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or error
        nowhere = os.open(os.devnull, os.O_WRONLY)  # what is buffered would fail again and again
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


class _Nowhere(io.TextIOWrapper):
    """In the place of a closed stream: who closes it wants nothing of it, so nothing is lost."""


def _taking_all(stream: TextIO | None, errors: str) -> TextIO:
    if stream is None:  # it was closed when the process started
        return _Nowhere(io.FileIO(os.devnull, "w"), encoding="utf-8", write_through=True)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    return _TakesAll(
        stream.buffer,
        encoding="utf-8",
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
