"""Files of safetensors, written here after the description of the format."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from zqc.errors import StatisticsError
from zqc.statistics.files.safetensors import header_length, read_safetensors

TYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8"}


def written(path, arrays, **changes):
    """Write arrays: name to (type, array); ``changes`` replace entries of the header."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, array) in arrays.items():
        raw = array.astype(ml_dtypes.bfloat16 if kind == "BF16" else TYPES[kind]).tobytes()
        offsets = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        body += raw
    text = json.dumps(header | changes).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_every_float_type(tmp_path, rng):
    """Numbers come back as they were stored; integers are no weights."""
    values = rng.normal(size=(3, 4))
    arrays = {kind: (kind, values) for kind in ("F64", "F32", "F16", "BF16", "I64")}
    found = read_safetensors(written(tmp_path / "a.safetensors", arrays)).arrays
    assert sorted(found) == ["BF16", "F16", "F32", "F64"]
    for kind, digits in (("F64", 1e-16), ("F32", 1e-7), ("F16", 1e-3), ("BF16", 4e-3)):
        np.testing.assert_allclose(found[kind], values, rtol=digits)


@pytest.mark.parametrize(
    ("entry", "pattern"),
    [
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 12]}, "12 bytes for shape"),
        ({"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]}, "cut off"),
        ({"dtype": "F32", "shape": [3], "data_offsets": [-4, 8]}, "impossible"),
        ({"dtype": "F32", "shape": [-3], "data_offsets": [0, 12]}, "impossible"),
        ({"dtype": "F32", "shape": "3", "data_offsets": [0, 12]}, "impossible"),
        ({"dtype": "F32", "shape": [3]}, "lacks its type"),
        ([1, 2], "lacks its type"),
    ],
)
def test_damage(tmp_path, entry, pattern):
    """Whatever does not fit its bytes is refused by name."""
    path = written(tmp_path / "a.safetensors", {"x": ("F32", np.ones(3))}, x=entry)
    with pytest.raises(StatisticsError, match=pattern):
        read_safetensors(path)


def test_overlapping_arrays_and_headers(tmp_path):
    """Arrays share no bytes; a header is JSON, and no longer than the file."""
    entry = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    path = written(tmp_path / "a.safetensors", {"x": ("F32", np.ones(3))}, y=entry)
    with pytest.raises(StatisticsError, match="overlaps"):
        read_safetensors(path)
    path.write_bytes(struct.pack("<Q", 4) + b"{[}]")
    with pytest.raises(StatisticsError, match="not JSON"):
        read_safetensors(path)
    path.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    with pytest.raises(StatisticsError, match="longer than the file"):
        read_safetensors(path)
    assert header_length(struct.pack("<Q", 2) + b"{}", 10) == 2
    assert header_length(b"\x80\x02}", 3) is None
