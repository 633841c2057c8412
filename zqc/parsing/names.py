"""What was meant by a name that there is not."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def hint(name: str, known: Collection[str]) -> str:
    """``did you mean bits?``, or all that there are where none is near."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"


def unknown_key(key: str, known: Collection[str]) -> str:
    """Of a file: that it has a key which there is not, and which was meant."""
    return f"unknown key {key[:60]!r}; {hint(key, known)}"
