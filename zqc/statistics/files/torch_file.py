"""Checkpoints of PyTorch: ``.pt``, ``.pth``, ``.ckpt``; zip archives and what came before them.

After the description of the formats in ``torch/serialization.py``. A tensor is a view of a storage:
a persistent id in the pickle names it, its bytes stand in another entry of the archive, or behind
the pickles.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from zqc.errors import StatisticsError
from zqc.statistics.files.pickle_names import Name
from zqc.statistics.files.pickles import Record, Stream, read_pickle
from zqc.statistics.files.weights import Floats, damaged, widened

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""What ``torch.save`` wrote first before PyTorch 1.6: a number as a pickle of its own."""

_LARGEST_PICKLE = 1 << 27
"""Bytes of the pickle in an archive; that of a whole YOLO11x has 1 MB."""

_BYTES = {
    **dict.fromkeys(("Bool", "Byte", "Char", "Untyped", "QInt8", "QUInt8", "QUInt4x2"), 1),
    **dict.fromkeys(("BFloat16", "Half", "Short"), 2),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("ComplexFloat", "Double", "Long"), 8),
    "ComplexDouble": 16,
}
"""Of one element of a storage, by the name of its class without ``Storage``."""

_FLOATS = {"float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16"}
"""Storages of the types that weights have, by the name of a type."""

_ZIP_ERRORS = (
    *(zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, KeyError),
    *(UnicodeDecodeError, ValueError, struct.error),
)
"""What the standard library raises of archives that are damaged or of a kind it does not read."""


@dataclass(frozen=True)
class Storage:
    """Bytes that tensors are views of.

    Attributes:
        kind: A key of ``_BYTES``.
        key: Its name in the file.
        count: Number of elements.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of floating-point numbers in a file, within its storage.

    Attributes:
        storage: What it is a view of.
        kind: Type of its elements, a key of ``_BYTES``.
        offset: First element.
        shape: Its shape.
        strides: In elements, along each axis.
    """

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class TorchFile:
    """What a checkpoint holds.

    Attributes:
        root: The pickled object, see ``read_pickle``, with a ``StoredTensor`` for each tensor.
        load: Reads the bytes of a storage, little-endian if ``little`` is.
        little: Byte order.
        source: The file, for messages.
    """

    root: Any
    load: Callable[[Storage], bytes]
    little: bool
    source: str

    def array(self, tensor: StoredTensor) -> Floats:
        """Read a tensor.

        Raises:
            StatisticsError: The file holds less than it says.
        """
        raw = self.load(tensor.storage)
        letter = {"BFloat16": "u2", "Half": "f2", "Float": "f4", "Double": "f8"}[tensor.kind]
        itemsize = _BYTES[tensor.kind]
        last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
        if tensor.size and (tensor.offset + last + 1) * itemsize > len(raw):
            damaged(self.source, f"storage {tensor.storage.key!r} is cut off")
        flat = np.frombuffer(raw, ("<" if self.little else ">") + letter, len(raw) // itemsize)
        view = np.lib.stride_tricks.as_strided(
            flat[tensor.offset :], tensor.shape, [s * itemsize for s in tensor.strides]
        )
        return widened(view, bfloat16=tensor.kind == "BFloat16")


def read_torch_file(path: Path) -> TorchFile:
    """Read a checkpoint without its tensors, which are read one by one.

    Raises:
        StatisticsError: It is damaged, or holds what no checkpoint does.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if not start:
                raise StatisticsError(f"{path} is empty; save or download it again")
            if start == b"PK\x03\x04":
                return _read_archive(path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _read_legacy(content, str(path))
    except OSError as error:
        raise StatisticsError(f"cannot read {path}: {error.strerror or error}") from error


def _read_archive(path: Path) -> TorchFile:
    source, size = str(path), path.stat().st_size
    try:
        archive = zipfile.ZipFile(path)  # it closes itself when nothing is read from it any more
        entries = {entry.filename: entry for entry in archive.infolist()}
        _check_entries(archive.infolist(), size, source)
        pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise StatisticsError(
                f"{source} is a zip archive with {len(pickles)} files data.pkl, so no "
                "checkpoint of PyTorch; give what torch.save wrote"
            )
        folder = pickles[0].removesuffix("data.pkl")
        if entries[pickles[0]].file_size > _LARGEST_PICKLE:
            raise StatisticsError(
                f"the pickle in {source} has {entries[pickles[0]].file_size} bytes, more than "
                "any checkpoint needs; save the state dict alone"
            )
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b""
        content = archive.read(pickles[0])
    except _ZIP_ERRORS as error:
        damaged(source, str(error), error)
    root = _read(io.BytesIO(content), source)

    def load(storage: Storage) -> bytes:
        try:
            return archive.read(f"{folder}data/{storage.key}")
        except _ZIP_ERRORS as error:
            damaged(source, str(error), error)

    return TorchFile(root, load, order.strip() != b"big", source)


def _check_entries(entries: list[zipfile.ZipInfo], size: int, source: str) -> None:
    """PyTorch stores its entries as they are, one behind the other, under names below a folder."""
    for entry in entries:
        name = entry.filename
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise StatisticsError(
                f"{source} has an entry {name[:200]!r}, a path outside of the archive, as no "
                "checkpoint has: it may be meant to do harm, and nothing of it was used"
            )
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise StatisticsError(
                f"{source} has a compressed entry {name[:200]!r} of {entry.file_size} bytes, and "
                "torch.save compresses none; save or download the checkpoint again"
            )
    if sum(entry.file_size for entry in entries) > size:
        damaged(source, "its entries are larger than the file")


def _read_legacy(content: mmap.mmap, source: str) -> TorchFile:
    storages: dict[str, Storage] = {}
    if content[: len(LEGACY_MAGIC)] != LEGACY_MAGIC:
        # A pickle of something else: whatever it is, it holds no storages.
        return TorchFile(read_pickle(content, source), lambda _: b"", True, source)
    content.seek(len(LEGACY_MAGIC))
    read_pickle(content, source)  # version of the protocol
    system = read_pickle(content, source)
    little = not isinstance(system, dict) or system.get("little_endian") is not False
    root = _read(content, source, storages)
    keys = read_pickle(content, source)
    places: dict[str, tuple[int, int]] = {}
    for key in keys if isinstance(keys, list) else ():
        if not isinstance(key, str) or key not in storages:
            damaged(source, f"nothing is known of storage {str(key)[:50]}")
        head = content.read(8)
        if len(head) < 8:
            damaged(source, "it ends early")
        # Written by the machine itself, so in its byte order.
        (count,) = struct.unpack("<q" if little else ">q", head)
        if count != storages[key].count:
            damaged(source, f"storage {key!r} has {count} elements, not {storages[key].count}")
        begin, length = content.tell(), count * _BYTES[storages[key].kind]
        if begin + length > len(content):
            damaged(source, f"storage {key!r} of {length} bytes is cut off")
        places[key] = begin, length
        content.seek(begin + length)

    def load(storage: Storage) -> bytes:
        if storage.key not in places:
            damaged(source, f"storage {storage.key!r} is missing")
        begin, length = places[storage.key]
        with Path(source).open("rb") as file:
            file.seek(begin)
            return file.read(length)

    return TorchFile(root, load, little, source)


def _read(stream: Stream, source: str, storages: dict[str, Storage] | None = None) -> Any:
    """Read the pickle of a checkpoint; ``storages`` receives all that it speaks of by key."""

    def persistent(told: Any) -> Any:
        if isinstance(told, tuple) and len(told) > 1 and told[0] == "module":
            return told[1]  # the class of a module, its source code behind it
        known = isinstance(told, tuple) and len(told) >= 5 and told[0] == "storage"
        name, key, count = (told[1], told[2], told[4]) if known else (None, None, None)
        kind = name.name.removesuffix("Storage") if isinstance(name, Name) else ""
        if kind not in _BYTES or not isinstance(key, str) or type(count) is not int or count < 0:
            raise StatisticsError(
                f"{source} speaks of an object outside of its pickle that is no storage of "
                "PyTorch: it may be meant to do harm, and nothing of it was run"
            )
        storage = Storage(kind, key, count)
        if storages is not None:
            storages[key] = storage
            view = told[5] if len(told) > 5 else None
            if view is not None:
                damaged(source, "it has views of storages, as before PyTorch 0.4")
        return storage

    def call(function: Name, arguments: tuple[Any, ...]) -> Any:
        return _tensor(function, arguments, source)

    return read_pickle(stream, source, call=call, persistent=persistent)


def _tensor(function: Name, arguments: tuple[Any, ...], source: str) -> Any:
    """What a call of a function of PyTorch makes: a tensor of floating-point numbers, or a record.

    Integers, quantized and sparse tensors are no weights of a float network: they stay records.
    """
    if function.module == "torch._tensor" and function.name == "_rebuild_from_type_v2":
        inner, of, *_ = arguments[0], arguments[2]
        if isinstance(inner, Name) and isinstance(of, tuple):
            return _tensor(inner, of, source)
    if function.module == "torch._utils":
        if function.name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            return arguments[0]
        if function.name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, Storage):
                damaged(source, "a tensor without a storage")
            kind = storage.kind
            if function.name == "_rebuild_tensor_v3" and isinstance(arguments[6], Name):
                kind = _FLOATS.get(arguments[6].name, "")
            return _checked(storage, kind, offset, shape, strides, source)
    return Record(function, arguments)


def _checked(
    storage: Storage, kind: str, offset: Any, shape: Any, strides: Any, source: str
) -> StoredTensor | None:
    """A tensor that stands within its storage; None if it has no numbers or repeats some."""
    if kind not in _FLOATS.values():
        return None
    sizes = [_whole(value) for value in (shape, strides)]
    whole = [*sizes[0], *sizes[1], offset]
    if len(sizes[0]) != len(sizes[1]) or len(sizes[0]) > 8 or not all(map(_counts, whole)):
        damaged(source, f"a tensor has shape {str(shape)[:60]} and strides {str(strides)[:60]}")
    count = math.prod(sizes[0])
    there = storage.count * _BYTES[storage.kind] // _BYTES[kind]
    last = offset + sum((n - 1) * s for n, s in zip(*sizes, strict=True))
    if count and last >= there:
        damaged(source, f"a tensor of shape {tuple(sizes[0])} has a storage of {there} numbers")
    if not 0 < count <= there:
        return None
    return StoredTensor(storage, kind, offset, tuple(sizes[0]), tuple(sizes[1]))


def _whole(shape: Any) -> list[Any]:
    if isinstance(shape, Record):  # torch.Size
        shape = shape.arguments[0]
    return list(shape) if isinstance(shape, (list, tuple)) else [-1]


def _counts(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40
