"""Reading an ONNX file, with an answer for everything that can be wrong with it."""

from __future__ import annotations

import hashlib
import math
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError
from onnx import external_data_helper

from zqc.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROTOBUF_LIMIT = 2**31 - 1
_WHOLE_BYTES = frozenset(
    getattr(onnx.TensorProto, name)
    for name in (
        *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"),
        *("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"),
    )
)
"""Types of which each value takes whole bytes."""
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
    _check_complete(path, proto)
    return OnnxFile(proto, digest.hexdigest(), size)


def _check_complete(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse parameters with fewer bytes than their shape needs: an interrupted download.

    Raises:
        ModelError: Names the first one.
    """
    for tensor in proto.graph.initializer:
        if not tensor.HasField("raw_data") or tensor.data_type not in _WHOLE_BYTES:
            continue
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        needed = math.prod(tensor.dims) * dtype.itemsize
        if len(tensor.raw_data) != needed:
            raise ModelError(
                f"{path}: the parameter {tensor.name!r} has {len(tensor.raw_data)} bytes, but its "
                f"shape needs {needed}; the file, or its external data, is cut off or damaged: "
                "export or download it again"
            )


def of_model(model: onnx.ModelProto | ir.Model) -> OnnxFile:
    """Take a model in memory for a file; an ``onnx_ir.Model`` may keep its data in other files.

    Raises:
        ModelError: A ``ModelProto`` refers to external data, whose place it does not know, or the
            model is larger than protobuf can hold.
    """
    if isinstance(model, ir.Model):
        try:
            model = ir.to_proto(ir.external_data.load_to_model(model.clone()))
        except OSError as error:
            raise ModelError(f"the external data of the model cannot be read: {error}") from error
    elif any(map(external_data_helper.uses_external_data, model.graph.initializer)):
        raise ModelError(
            "the model refers to external data, and a ModelProto does not know where that lies; "
            "give the path of the file, or load the data first (onnx.load does)"
        )
    try:
        content = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError("the model has more than the 2 GB that can be worked on") from error
    # A copy: what the caller holds stays as it is.
    proto = onnx.ModelProto.FromString(content)
    return OnnxFile(proto, hashlib.sha256(content).hexdigest(), len(content))


@contextmanager
def as_file(model: Path | onnx.ModelProto | ir.Model) -> Iterator[Path]:
    """Give a model in memory a file for as long as the context lasts; a path is its own.

    Raises:
        ModelError: See ``of_model``.
    """
    if isinstance(model, Path):
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="zqc-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(of_model(model).proto.SerializeToString(deterministic=True))
        yield path


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
