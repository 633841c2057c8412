"""Parameters that stand in files beside the model: where these lie, and whether they are all there.

A location is a path below the folder of the model. Where it is a link it is followed, if what it
leads to lies in that folder, too, or in the ``blobs`` of the Hugging Face cache that the model is
in, whose ``snapshots`` hold links only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import onnx
from onnx import external_data_helper

from zqc.errors import DAMAGED, ModelError
from zqc.model_io.tensors import number_of_bytes, number_of_elements, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class _Place:
    """Where the data of a tensor stand.

    Attributes:
        location: The file, as the model says it.
        offset: Where they begin in it, in bytes.
        length: Their number of bytes.
    """

    location: str
    offset: int
    length: int


def tensors_outside(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model whose data stand in other files, those of Constant nodes included."""
    for graph in (proto.graph, *proto.functions):
        yield from filter(external_data_helper.uses_external_data, _tensors(graph))


def files_of(proto: onnx.ModelProto, path: Path) -> list[Path]:
    """The files that hold parameters of a model, each once; nothing of them is read.

    Args:
        proto: The model.
        path: Its own file.

    Raises:
        ModelError: One is missing, lies elsewhere, or is too short for what should be in it.
    """
    files: dict[str, Path] = {}
    for tensor in tensors_outside(proto):
        place = _place(tensor)
        if place.location not in files:
            files[place.location] = _found(place.location, path)
        file = files[place.location]
        size, end = file.stat().st_size, place.offset + place.length
        if end > size:
            raise ModelError(
                f"the external data are cut off: {file} has {size} bytes, but the parameter "
                f"{tensor.name!r} ends at {end}; download or export both files again"
            )
    return [files[location] for location in sorted(files)]


def load(proto: onnx.ModelProto, path: Path) -> None:
    """Put all data that stand in other files into the model, in place; see ``files_of``.

    Raises:
        ModelError: As there.
        OSError: A file cannot be read.
    """
    for tensor in tensors_outside(proto):
        place = _place(tensor)
        with _found(place.location, path).open("rb") as file:
            file.seek(place.offset)
            tensor.raw_data = file.read(place.length)
        tensor.ClearField("external_data")
        tensor.data_location = onnx.TensorProto.DEFAULT


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a graph and of its subgraphs."""
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            inner: Iterable[onnx.GraphProto] = (attribute.g, *attribute.graphs)
            yield from (attribute.t, *attribute.tensors)
            for each in inner:
                yield from _tensors(each)


def _place(tensor: onnx.TensorProto) -> _Place:
    """Where the data of a tensor stand, which are as long as its type and shape say."""
    what = f"the parameter {tensor.name!r}"
    said = {entry.key: entry.value for entry in tensor.external_data}
    kind = type_name(tensor.data_type)
    if kind in ("", "UNDEFINED", "STRING"):
        raise ModelError(f"{what} cannot stand in another file: it is no tensor of numbers")
    needed = number_of_bytes(kind, number_of_elements(tensor, what))
    offset, length = (_number(said, key, what) for key in ("offset", "length"))
    if length not in (None, needed):
        raise ModelError(
            f"{what} has {length} bytes of external data, but its shape needs {needed}; {DAMAGED}"
        )
    return _Place(said.get("location", ""), offset or 0, needed)


def _number(said: dict[str, str], key: str, what: str) -> int | None:
    text = said.get(key)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ModelError(
            f"the {key} of the external data of {what} is {text[:20]!r}, which is no number of "
            f"bytes; {DAMAGED}"
        )
    return int(text)


def _found(location: str, path: Path) -> Path:
    """The file of a location.

    Raises:
        ModelError: There is none, or it is not the model's.
    """
    parts = PurePosixPath(location.replace("\\", "/"))
    if not parts.name or parts.is_absolute() or ".." in parts.parts or "\0" in location:
        raise ModelError(
            f"its parameters are said to be in {location[:200]!r}, but only files in the folder of "
            "the model are read; export it again"
        )
    file = path.parent / parts
    if not file.is_file():
        raise ModelError(
            f"it keeps its parameters in {file}, which does not exist; put that file beside the "
            "model"
        )
    target = file.resolve()
    if not any(target.is_relative_to(folder) for folder in _folders(path)):
        raise ModelError(
            f"it keeps its parameters in {file}, a link to {target}, which is outside of the "
            "model's folder; put the file itself there"
        )
    return file


def _folders(path: Path) -> list[Path]:
    """Where the data of a model may lie."""
    folder = path.parent.absolute()
    blobs = [each.parent / "blobs" for each in folder.parents if each.name == "snapshots"]
    return [each.resolve() for each in (folder, *blobs)]
