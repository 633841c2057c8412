"""What was meant by a name that there is not."""

import pytest

from zqc.parsing.names import hint, unknown_key


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bit", "did you mean bits?"), ("zzz", "known: bits, seed")],
)
def test_hint(name, expected):
    """The nearest name, or all of them."""
    assert hint(name, ["bits", "seed"]) == expected


def test_unknown_key():
    """A key is shown, a long one in part."""
    assert unknown_key("sed", ["seed"]) == "unknown key 'sed'; did you mean seed?"
    assert unknown_key("k" * 99, ["seed"]) == f"unknown key '{'k' * 60}'; known: seed"
