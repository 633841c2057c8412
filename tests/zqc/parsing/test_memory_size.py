"""Amounts of memory, as people write them."""

import numpy as np
import pytest

from zqc.parsing.memory_size import memory_size
from zqc.parsing.text import ParseError


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("2GB", 2_000_000_000),
        (" 1.5 g ", 1_500_000_000),
        ("800MB", 800_000_000),
        ("2GiB", 2 << 30),
        ("500000kb", 500_000_000),
        ("123456789", 123_456_789),
        (".5GB", 500_000_000),
        (10**9, 10**9),
        (np.int64(10**9), 10**9),
        (10**400, 10**15),
        ("99999999TB", 10**15),
    ],
)
def test_what_people_write(asked, expected):
    """Decimal and binary units in any case, with and without the B, or a number of bytes."""
    assert memory_size(asked) == expected


@pytest.mark.parametrize(
    "asked", ["", "much", "2 GBit", "-2GB", "1e9", "٢GB", "9" * 400, [2], 2.5, True, None]
)
def test_what_is_no_amount(asked):
    """The message shows what was given and what would do."""
    with pytest.raises(ParseError, match=r"must be an amount such as 2GB"):
        memory_size(asked)


@pytest.mark.parametrize("asked", ["4", "99MB", 0, -5])
def test_a_forgotten_unit(asked):
    """Less than any model needs is most likely a number of gigabytes."""
    with pytest.raises(ParseError, match="say the unit, as in 2GB"):
        memory_size(asked)
