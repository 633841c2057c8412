"""Reading an ONNX file, with an answer for everything that can be wrong with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from zqc.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

_PROTOBUF_LIMIT = 2**31 - 1
_KNOWN_STARTS = {
    b"version https://git-lfs": "is a Git LFS pointer; fetch the model first: git lfs pull",
    b"PK\x03\x04": "is a zip archive (a PyTorch checkpoint?); export the network to ONNX first",
}


@dataclass(frozen=True)
class OnnxFile:
    """What stood in a file.

    Attributes:
        proto: The model, external data loaded.
        sha256: Hash of the file and of its external data, in hexadecimal.
        size: Bytes of both together.
    """

    proto: onnx.ModelProto
    sha256: str
    size: int


def read(path: Path) -> OnnxFile:
    """Read an ONNX file and the external data beside it.

    Raises:
        ModelError: It cannot be read, or it is not ONNX; the message says which and what to do.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist; check the path of the model") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path} is a folder; give the path of an .onnx file") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    proto = _parsed(path, content)
    digest, size = hashlib.sha256(content), len(content)
    for external in _external_files(path, proto):
        try:
            size += external.stat().st_size
            with external.open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            raise ModelError(f"{external} cannot be read: {error.strerror or error}") from error
    if size > _PROTOBUF_LIMIT:
        raise ModelError(f"{path} has {size / 2**30:.1f} GB, but at most 2 GB can be worked on")
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"the external data of {path} cannot be used: {error}") from error
    return OnnxFile(proto, digest.hexdigest(), size)


def _external_files(path: Path, proto: onnx.ModelProto) -> list[Path]:
    """The files that hold the parameters of a model, each once."""
    locations = {
        entry.value
        for tensor in proto.graph.initializer
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = [path.parent / location for location in sorted(locations)]
    for file in files:
        if not file.is_file():
            raise ModelError(
                f"{path} keeps its parameters in {file}, which does not exist; "
                "put that file beside the model"
            )
    return files


def _parsed(path: Path, content: bytes) -> onnx.ModelProto:
    """Parse a file's content and refuse what is no ONNX model."""
    if not content:
        raise ModelError(f"{path} is empty; export or download the model again")
    for start, finding in _KNOWN_STARTS.items():
        if content.startswith(start):
            raise ModelError(f"{path} {finding}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        finding = "is a text file" if _is_text(content) else "is damaged or was cut short"
        raise ModelError(
            f"{path} {finding}, not a complete ONNX model; export or download it again"
        ) from error
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{path} holds no ONNX graph; export or download the model again")
    return proto


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in content[:1024])
