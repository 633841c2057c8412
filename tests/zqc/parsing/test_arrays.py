"""Files of NumPy that are damaged, encrypted, without end or full of objects."""

import io
import struct
import zipfile

import numpy as np
import pytest

from zqc.parsing import arrays
from zqc.parsing.arrays import array_of, opened_npz, read_npy
from zqc.parsing.text import ParseError


@pytest.fixture
def path(tmp_path):
    """Where a file may be written."""
    return tmp_path / "a.npz"


def npy(array):
    """The bytes of an .npy."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def read(path, key="images"):
    """Read an array of an .npz."""
    with opened_npz(path) as archive:
        return array_of(archive, key)


def test_arrays_are_read(path):
    """Both formats, mapped or not."""
    array = np.arange(6.0).reshape(2, 3)
    np.savez_compressed(path, images=array)
    np.testing.assert_array_equal(read(path), array)
    path.write_bytes(npy(array))
    for mapped in (False, True):
        np.testing.assert_array_equal(read_npy(path, mapped=mapped), array)


def changed(content, old, new):
    """A file with some bytes changed."""
    assert old in content
    return content.replace(old, new)


def test_an_npy_that_is_none(path):
    """Objects, a cut, another format, and a shape that is longer than the file."""
    whole = npy(np.arange(10.0))
    for content, words in (
        (npy(np.array([{}, None])), "Python objects"),
        (npy(np.array(["text"])), "something else than numbers"),
        (whole[:-8], "damaged"),
        (b"", "damaged"),
        (b"\x80\x04K\x01.", "damaged"),
        (changed(whole, b"(10,)", b"(1e9)"), "damaged"),
        (changed(whole, b"(10,), }     ", b"(2**40,), } "), "damaged"),
    ):
        path.write_bytes(content)
        for mapped in (False, True):
            with pytest.raises(ParseError, match=words):
                read_npy(path, mapped=mapped)


def test_an_npz_that_is_none(path, monkeypatch):
    """Encrypted, damaged, objects, too large, or no archive at all."""
    np.savez(path, images=np.arange(10.0), objects=np.array([{}]), other=np.ones(3))
    content = path.read_bytes()
    with pytest.raises(ParseError, match="Python objects"):
        read(path, "objects")
    with pytest.raises(ParseError, match="damaged"):
        read(path, "missing")
    monkeypatch.setattr(arrays, "MOST_BYTES", 100)
    with pytest.raises(ParseError, match="'images' of 0 GB"):
        read(path)
    monkeypatch.undo()
    flagged = bytearray(content)
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        at = flagged.index(start) + (6 if start[2] == 3 else 8)
        flagged[at : at + 2] = struct.pack("<H", struct.unpack("<H", flagged[at : at + 2])[0] | 1)
    path.write_bytes(flagged)
    with pytest.raises(ParseError, match="encrypted"):
        read(path)
    for broken in (content[:-40], b"PK\x03\x04", npy(np.ones(2))):
        path.write_bytes(broken)
        with pytest.raises(ParseError, match=r"damaged, or not an \.npz"):
            read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"no array")
    with pytest.raises(ParseError):
        read(path)
