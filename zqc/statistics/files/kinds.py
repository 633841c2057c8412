"""What kind of file statistics are given in: its content first, then its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from zqc.errors import StatisticsError
from zqc.statistics.files.checkpoint import read_checkpoint
from zqc.statistics.files.darknet import read_darknet
from zqc.statistics.files.safetensors import header_length, read_safetensors
from zqc.statistics.files.weights import Weights

Kind = Literal["torch", "safetensors", "darknet", "onnx", "card"]

_SUFFIXES: dict[str, Kind] = {
    ".ckpt": "torch",
    ".onnx": "onnx",
    ".pt": "torch",
    ".pth": "torch",
    ".safetensors": "safetensors",
    ".weights": "darknet",
}


def kind_of(path: Path) -> Kind:
    """Tell what a file is.

    Raises:
        StatisticsError: It is a checkpoint of a kind that is not read.
    """
    suffix = _SUFFIXES.get(path.suffix.lower())
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return suffix or "card"  # who reads it says what is the matter
    if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
        return "torch"
    if start[257:262] == b"ustar":
        raise StatisticsError(
            f"{path} is a tar archive, as PyTorch wrote before version 0.2; load it there and save "
            "it again"
        )
    if header_length(start, size) is not None:
        return "safetensors"
    if start.lstrip()[:1] == b"{":
        return "card"
    if suffix == "torch" and start:
        # Protocols 0 and 1 of pickles have no first byte of their own: the reader finds out.
        return "torch"
    return suffix or "card"


def read_weights(path: Path, kind: Kind) -> tuple[Weights, ...]:
    """Read the networks of a file of trained weights, the likeliest first.

    Raises:
        StatisticsError: It cannot be used.
    """
    if kind == "safetensors":
        return (read_safetensors(path),)
    return (read_darknet(path),) if kind == "darknet" else read_checkpoint(path)
