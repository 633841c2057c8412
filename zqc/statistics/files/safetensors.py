"""Files in the format of safetensors: a header in JSON, and arrays behind it."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from zqc.errors import StatisticsError
from zqc.parsing.text import ParseError, parsed_json
from zqc.statistics.files.weights import Floats, Weights, damaged, widened

_LARGEST_HEADER = 100_000_000
"""Bytes, as the format says."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Of the types of the format, those that weights have."""


def header_length(start: bytes, size: int) -> int | None:
    """How long the header of a file is that starts so and has that size; None for another format.

    Args:
        start: Its first nine bytes or more.
        size: Bytes of the file.
    """
    if len(start) < 9 or start[8:9] != b"{":
        return None
    (length,) = struct.unpack("<Q", start[:8])
    return int(length) if 2 <= length <= min(_LARGEST_HEADER, size - 8) else None


def read_safetensors(path: Path) -> Weights:
    """Read every array of floating-point numbers.

    Raises:
        StatisticsError: The file is damaged.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise StatisticsError(f"cannot read {path}: {error.strerror or error}") from error
    length = header_length(content[:9].tobytes(), len(content))
    if length is None:
        damaged(path, "its header is longer than the file")
    try:
        header = parsed_json(content[8 : 8 + length].tobytes().decode())
    except ParseError as error:
        damaged(path, f"its header {error}")
    except UnicodeDecodeError:
        damaged(path, "its header is no text")
    if not isinstance(header, dict):
        damaged(path, "its header is no object")
    arrays: dict[str, Floats] = {}
    end = 0
    data = content[8 + length :]
    for name, entry in sorted(_entries(header, path), key=lambda item: item[1][2]):
        kind, shape, begin, after = entry
        if begin < end:
            damaged(path, f"{name!r} overlaps another array")
        end = after
        if after > len(data):
            damaged(path, f"{name!r} is cut off")
        if kind not in _TYPES:
            continue
        letter = np.dtype(_TYPES[kind])
        if after - begin != math.prod(shape) * letter.itemsize:
            damaged(path, f"{name!r} has {after - begin} bytes for shape {shape}")
        raw = data[begin:after].view(letter).reshape(shape)
        arrays[name] = widened(raw, bfloat16=kind == "BF16")
    return Weights(arrays)


def _entries(
    header: dict[str, Any], path: Path
) -> list[tuple[str, tuple[str, list[int], int, int]]]:
    found = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            kind, shape, (begin, after) = entry["dtype"], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError, ValueError):
            damaged(path, f"{name[:100]!r} lacks its type, shape or place")
        whole = isinstance(shape, list) and all(type(n) is int for n in (*shape, begin, after))
        if not whole or min((*shape, begin)) < 0 or after < begin or len(shape) > 8:
            damaged(path, f"{name[:100]!r} has an impossible shape or place")
        found.append((name, (str(kind), shape, begin, after)))
    return found
