"""What the released versions of ONNX Runtime read, measured with models of every opset."""

from __future__ import annotations

VERSIONS = tuple(f"1.{minor}" for minor in range(16, 32))
"""Those that a result can be asked to run on; ``tools.compare.versions`` tries some of them."""

_OPSETS = {16: 19, 17: 20, 18: 21, 21: 22, 23: 23, 31: 26}
"""The newest operator set, by the minor version from which on it was found to be read.

Between two of them some versions may read more than is said here; none reads less.
"""

_CASTS_INT4_SINCE = 23


def newest_opset(version: str) -> int:
    """Return the newest default operator set that a version reads."""
    return max(opset for since, opset in _OPSETS.items() if since <= _minor(version))


def casts_int4(version: str | None) -> bool:
    """Whether a version can cast from INT4, as zqc itself needs; None stands for such a one."""
    return version is None or _minor(version) >= _CASTS_INT4_SINCE


def _minor(version: str) -> int:
    return int(version.partition(".")[2])
