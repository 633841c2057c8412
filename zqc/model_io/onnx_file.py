"""Reading an ONNX file, with an answer for everything that can be wrong with it."""

from __future__ import annotations

import hashlib
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError, EncodeError

from zqc.errors import ModelError
from zqc.files.scratch import scratch_folder
from zqc.model_io import external
from zqc.model_io.soundness import check_sound

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise ModelError(f"{path} is a pipe or a device; give the path of an .onnx file")
        if found.st_size > _PROTOBUF_LIMIT:
            raise ModelError(
                f"{path} has more than the 2 GB that an ONNX file can have; it is damaged, or none"
            )
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist; check the path of the model") from error
    except IsADirectoryError as error:
        raise ModelError(f"{path} is a folder; give the path of an .onnx file") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    proto = _parsed(path, content)
    try:
        files = external.files_of(proto, path)
        size = len(content) + sum(file.stat().st_size for file in files)
        if size > _PROTOBUF_LIMIT:
            raise ModelError(f"it has {size / 2**30:.1f} GB, but at most 2 GB can be worked on")
        digest = hashlib.sha256(content)
        for file in files:
            with file.open("rb") as opened:
                for block in iter(lambda: opened.read(1 << 20), b""):
                    digest.update(block)
        external.load(proto, path)
        check_sound(proto)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error.__cause__
    except OSError as error:
        raise ModelError(
            f"the external data of {path} cannot be read: {error.filename}: "
            f"{error.strerror or error}"
        ) from error
    return OnnxFile(proto, digest.hexdigest(), size)


def of_model(model: onnx.ModelProto | ir.Model) -> OnnxFile:
    """Take a model in memory for a file; an ``onnx_ir.Model`` may keep its data in other files.

    Raises:
        ModelError: A ``ModelProto`` refers to external data, whose place it does not know, the
            model is larger than protobuf can hold, or it is not sound.
    """
    if isinstance(model, ir.Model):
        try:
            model = ir.to_proto(ir.external_data.load_to_model(model.clone()))
        except OSError as error:
            raise ModelError(f"the external data of the model cannot be read: {error}") from error
    elif any(external.tensors_outside(model)):
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
    _check_graph_there(proto, "the model")
    check_sound(proto)
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
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(of_model(model).proto.SerializeToString(deterministic=True))
        yield path


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
    _check_graph_there(proto, str(path))
    return proto


def _check_graph_there(proto: onnx.ModelProto, name: str) -> None:
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{name} holds no ONNX graph; export or download the model again")


def _is_text(content: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in content[:1024])
