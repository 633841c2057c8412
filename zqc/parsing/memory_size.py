"""Amounts of memory, as people write them."""

from __future__ import annotations

import re
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

from zqc.parsing.text import ParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST, MOST = 10**8, 10**15
"""Python and ONNX Runtime alone take as much; no machine has more."""

_AMOUNT = re.compile(r"(\d{1,20}\.?\d{0,9}|\.\d{1,9})\s*(|[kmgt])(|i)b?", re.IGNORECASE | re.ASCII)
_POWERS: Mapping[str, int] = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def memory_size(asked: SupportsIndex | str) -> int:
    """Bytes of a number of them, or of a text such as ``2GB``, ``1.5G``, ``800 MB`` or ``2GiB``.

    Raises:
        ParseError: It is none of these, or less than any model needs.
    """
    count: object = asked
    if isinstance(asked, SupportsIndex) and not isinstance(asked, bool):
        count = index(asked)
    if isinstance(asked, str) and (found := _AMOUNT.fullmatch(asked.strip())) is not None:
        number, unit, binary = found.groups()
        count = round(float(number) * (1024 if binary else 1000) ** _POWERS[unit.lower()])
    if not isinstance(count, int) or isinstance(count, bool):
        raise ParseError(f"is {asked!r}, but must be an amount such as 2GB or 800MB")
    if count < LEAST:
        raise ParseError(f"is {asked!r}, but must be 100MB or more; say the unit, as in 2GB")
    return min(count, MOST)
