"""A file is taken for what it holds, whatever it is called."""

import struct
import tarfile

import pytest
import torch

from zqc.errors import StatisticsError
from zqc.statistics.files.kinds import kind_of, read_weights

SAFE = struct.pack("<Q", 2) + b"{}"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.bin", b"PK\x03\x04...", "torch"),
        ("a.onnx", b"\x80\x02}.", "torch"),
        ("a.pt", b"(lp0\n.", "torch"),
        ("a.pt", SAFE, "safetensors"),
        ("a.safetensors", b"", "safetensors"),
        ("a.weights", bytes(20), "darknet"),
        ("a.ONNX", b"\x08\x07", "onnx"),
        ("a.txt", b' {"format"', "card"),
        ("a.json", b"[", "card"),
    ],
)
def test_kinds(tmp_path, name, content, kind):
    """Content first, then the name."""
    path = tmp_path / name
    path.write_bytes(content)
    assert kind_of(path) == kind


def test_files_that_are_missing(tmp_path):
    """By the name: whoever reads it says that it is missing."""
    assert kind_of(tmp_path / "a.pt") == "torch"
    assert kind_of(tmp_path / "a.json") == "card"
    for name, kind in (("a.pt", "torch"), ("a.safetensors", "safetensors")):
        with pytest.raises(StatisticsError, match="No such file"):
            read_weights(tmp_path / name, kind)


def test_archives_of_old(tmp_path):
    """Tar archives are refused by name."""
    path = tmp_path / "a.pt"
    with tarfile.open(path, "w") as file:
        file.add(__file__, "pickle")
    with pytest.raises(StatisticsError, match="tar archive"):
        kind_of(path)


def test_reading(tmp_path):
    """Each kind has its reader."""
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "a.pt")
    (weights,) = read_weights(tmp_path / "a.pt", "torch")
    assert list(weights.arrays) == ["a.weight"]
    (tmp_path / "a.safetensors").write_bytes(SAFE)
    assert read_weights(tmp_path / "a.safetensors", "safetensors")[0].arrays == {}
