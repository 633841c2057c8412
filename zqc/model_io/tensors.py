"""Whether the numbers of a tensor are as many as its type and shape say."""

from __future__ import annotations

import math

import onnx
from onnx import external_data_helper

from zqc.errors import DAMAGED, ModelError

MOST_ELEMENTS = 2**31
"""What no tensor of a detector has, nor of a picture: 8 GB of float32."""

_FIELDS = {
    **dict.fromkeys(("FLOAT", "COMPLEX64"), "float_data"),
    **dict.fromkeys(("DOUBLE", "COMPLEX128"), "double_data"),
    "INT64": "int64_data",
    "STRING": "string_data",
    **dict.fromkeys(("UINT32", "UINT64"), "uint64_data"),
}
"""Where the numbers of a type stand that are not raw; those of all others in ``int32_data``."""

_BITS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
}
"""Types of which several values share a byte."""

_CUT_OFF = "the file, or its external data, is cut off or damaged: export or download it again"


def check_tensor(tensor: onnx.TensorProto, what: str) -> None:
    """Refuse a tensor with more or fewer numbers than it says.

    Args:
        tensor: It; one whose data stand in another file is left to ``external``.
        what: What messages call it.

    Raises:
        ModelError: Its type is none, a size is negative, or the data are not as long.
    """
    kind = type_name(tensor.data_type)
    if kind in ("", "UNDEFINED"):
        raise ModelError(
            f"{what} has the type {tensor.data_type}, which ONNX does not know; the file is "
            "damaged, or upgrade onnx"
        )
    count = number_of_elements(tensor, what)
    if external_data_helper.uses_external_data(tensor):
        return
    if tensor.HasField("raw_data"):
        needed, found, unit = number_of_bytes(kind, count), len(tensor.raw_data), "bytes"
        if kind == "STRING":
            raise ModelError(f"{what} holds strings as raw bytes; {_CUT_OFF}")
    else:
        numbers = getattr(tensor, _FIELDS.get(kind, "int32_data"))
        needed, found, unit = count, len(numbers), "values"
        if kind.startswith("COMPLEX"):
            needed *= 2
        elif _BITS.get(kind, 8) < 6:
            needed = number_of_bytes(kind, count)
    if found != needed:
        raise ModelError(f"{what} has {found} {unit}, but its shape needs {needed}; {_CUT_OFF}")


def type_name(data_type: int) -> str:
    """The name of a type; empty where there is none with this number."""
    known = onnx.TensorProto.DataType
    return known.Name(data_type) if data_type in known.values() else ""


def number_of_elements(tensor: onnx.TensorProto, what: str) -> int:
    """How many values a tensor has by its shape.

    Raises:
        ModelError: A size is negative, or no machine holds so many.
    """
    if any(size < 0 for size in tensor.dims):
        raise ModelError(
            f"{what} has the shape {list(tensor.dims)}, with a negative size; {DAMAGED}"
        )
    count: int = math.prod(tensor.dims)
    if count > MOST_ELEMENTS:
        raise ModelError(
            f"{what} has the shape {list(tensor.dims)}, which no machine holds; {DAMAGED}"
        )
    return count


def number_of_bytes(kind: str, count: int) -> int:
    """How many bytes so many values of a type take as raw data."""
    if kind in _BITS:
        return -(-count * _BITS[kind] // 8)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(kind))
    return count * int(dtype.itemsize)
