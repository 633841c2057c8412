"""What the released versions of ONNX Runtime read, measured with models of every opset.

A version newer than those measured is taken to read what the newest of them reads.
"""

from __future__ import annotations

import logging
import re

from zqc.errors import OptionError

logger = logging.getLogger(__name__)

OLDEST = "1.16"
"""The oldest that a result can be asked to run on; ``tools/version_matrix.py`` tries some since."""

_OPSETS = {
    (1, 16): 19,
    (1, 17): 20,
    (1, 18): 21,
    (1, 21): 22,
    (1, 23): 23,
    (1, 31): 26,
    (1, 32): 28,
}
"""The newest operator set, by the version from which on it was found to be read.

Between two of them some versions may read more than is said here; none reads less.
"""

_CASTS_INT4_SINCE = (1, 23)


def check(version: str) -> None:
    """Refuse what is no version of ONNX Runtime, or one that is too old.

    Raises:
        OptionError: The message names the oldest version there is a way to write for.
    """
    if not re.fullmatch(r"\d+\.\d+", version, re.ASCII) or _parts(version) < _parts(OLDEST):
        raise OptionError(
            f"min_runtime is {version!r}, but must be a version of ONNX Runtime from {OLDEST} on, "
            "two numbers with a point between them, such as 1.23"
        )


def newest_opset(version: str | None) -> int:
    """Return the newest default operator set that a version reads; None stands for the newest."""
    measured = max(_OPSETS)
    if version is None:
        return _OPSETS[measured]
    if _parts(version) > measured:
        newest = ".".join(map(str, measured))
        logger.debug("onnxruntime %s is taken to read what %s reads", version, newest)
    return max(opset for since, opset in _OPSETS.items() if since <= _parts(version))


def oldest_that_reads(opset: int) -> str | None:
    """Return the oldest version that reads an operator set; None where none is known to."""
    able = [since for since, newest in _OPSETS.items() if newest >= opset]
    return ".".join(map(str, min(able))) if able else None


def casts_int4(version: str | None) -> bool:
    """Whether a version can cast from INT4, as zqc itself needs; None stands for such a one."""
    return version is None or _parts(version) >= _CASTS_INT4_SINCE


def _parts(version: str) -> tuple[int, ...]:
    """Major and minor version, in which order versions are released."""
    return tuple(map(int, version.split(".")))
