"""JSON, TOML and other text of users: read and parsed within bounds, with errors in plain words."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 2**20
"""Of a file that a person writes."""

MOST_BYTES_OF_DATA = 2**31
"""Of a file that a program writes, such as all labels of a large dataset."""

DEEPEST = 32
"""Lists in lists. What zqc reads has five levels at most."""


class ParseError(ValueError):
    """A file or text cannot be used; the message says what it is, behind the name of the file."""


def read_text(path: Path, *, most: int = MOST_BYTES, lenient: bool = False) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Args:
        path: The file.
        most: Bytes that it may have.
        lenient: Whether bytes that are no UTF-8 become question marks, as in comments of old files.

    Raises:
        ParseError: It is no regular file, larger than that, or no text.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    if not path.is_file() and not path.is_dir():
        raise ParseError("is no regular file, but a pipe or a device; give a file")
    if size > most:
        raise ParseError(f"has {size:,} bytes, but at most {most:,} are read")
    try:
        return path.read_bytes().decode("utf-8-sig", "replace" if lenient else "strict")
    except UnicodeDecodeError as error:
        raise ParseError(f"is no text in UTF-8: byte {error.start} is none of a letter") from error


def parsed_json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ParseError: It is none, or has no end of brackets or digits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ParseError(f"is not JSON: {_lowered(error.msg)} at {where}") from error
    except RecursionError as error:
        raise ParseError(_NESTED) from error
    except ValueError as error:  # Python bounds the digits of an integer
        raise ParseError(_DIGITS) from error


def parsed_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ParseError: It is none, has no end of brackets or digits, or is nested deeply.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ParseError(f"is not TOML: {_lowered(str(error))}") from error
    except RecursionError as error:
        raise ParseError(_NESTED) from error
    except ValueError as error:
        raise ParseError(_DIGITS) from error
    _check_depth(table)
    return table


def is_number(value: object) -> bool:
    """Whether a parsed value is a number that a float holds: no truth value, NaN or infinity."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def is_whole(value: object) -> bool:
    """Whether a parsed value is an integer of 64 bits, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def shown(value: object) -> str:
    """A parsed value as it is written, cut short where it is long."""
    text = str(value) if isinstance(value, int) and abs(value) >= 2**63 else ""
    text = text or json.dumps(value, default=str, ensure_ascii=False)
    return f"{text[:57]}…" if len(text) > 60 else text


_NESTED = "is nested without end, which nothing is that zqc reads"
_DIGITS = "has a number of thousands of digits"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:].splitlines()[0] if message else "it is damaged"


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        parts = [list(v.values()) if isinstance(v, dict) else v for v in level]
        level = [each for part in parts if isinstance(part, list) for each in part]
        if not level:
            return
    raise ParseError(_NESTED)
