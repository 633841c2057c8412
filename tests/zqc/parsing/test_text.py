"""Text of users is read within bounds, and what is wrong with it is told in plain words."""

import os
import sys

import pytest

from zqc.parsing.text import (
    DEEPEST,
    ParseError,
    is_number,
    is_whole,
    parsed_json,
    parsed_toml,
    read_text,
    shown,
)


def test_files(tmp_path):
    """Too large, no text, no file: told apart; a byte order mark is none of the text."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfhallo")
    assert read_text(path) == "hallo"
    with pytest.raises(ParseError, match="8 bytes, but at most 4"):
        read_text(path, most=4)
    path.write_bytes(b"ab\xff")
    with pytest.raises(ParseError, match="no text in UTF-8: byte 2"):
        read_text(path)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "b.txt")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe(tmp_path):
    """A pipe is refused and not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ParseError, match="no regular file"):
        read_text(tmp_path / "pipe")


@pytest.mark.parametrize("parse", [parsed_json, parsed_toml])
def test_hostile_text(parse):
    """Brackets and digits without end, and plain mistakes, are one error with one line."""
    start = "" if parse is parsed_json else "a = "
    for text, words in (
        (start + "[" * 100_000, "nested without end"),
        (start + "9" * 10_000, "number of thousands of digits"),
        (start + "[1, ", "is not (JSON|TOML): [a-z]"),
    ):
        with pytest.raises(ParseError, match=words) as caught:
            parse(text)
        assert "\n" not in str(caught.value)


def test_tables_in_tables():
    """Dotted keys nest, too."""
    assert parsed_toml(".".join("a" * (DEEPEST - 1)) + " = 1")
    with pytest.raises(ParseError, match="nested without end"):
        parsed_toml(".".join("a" * 500) + " = 1")


def test_kinds():
    """A truth value is no number, nor is what no float holds."""
    assert all(map(is_number, (0, -1.5, 2**63, 1e308)))
    assert not any(map(is_number, (True, "1", None, float("nan"), float("inf"), 10**400)))
    assert all(map(is_whole, (0, -3, 2**63 - 1)))
    assert not any(map(is_whole, (True, 1.0, "1", 2**63)))


def test_shown():
    """Values are shown as they are written, and never long."""
    assert shown({"a": [1, "ü", None, True]}) == '{"a": [1, "ü", null, true]}'
    assert shown(10**400) == "1" + 56 * "0" + "…"
    assert len(shown(list(range(1000)))) == 58
