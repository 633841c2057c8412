"""Which models the pipeline takes: each check refuses one kind and says what to do instead."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from zqc.errors import AlreadyQuantizedError, ModelError

OLDEST_OPSET = 7

_QUANTIZED = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "ConvInteger",
        "MatMulInteger",
        "MatMulNBits",
        "QGemm",
    }
)
_NARROW = frozenset(
    {
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.INT4,
        ir.DataType.UINT4,
        ir.DataType.FLOAT8E4M3FN,
        ir.DataType.FLOAT8E5M2,
    }
)
_WITH_PARAMETERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"})


def check_opset(opset: int) -> None:
    """Refuse operator sets that onnx cannot raise or does not know."""
    newest = onnx.defs.onnx_opset_version()
    if opset == 0:
        raise ModelError("the model declares no opset, so it is damaged; export it again")
    if opset < OLDEST_OPSET:
        raise ModelError(
            f"opset {opset} is too old, {OLDEST_OPSET} is the oldest that can be read; "
            "export the model again with opset 13 or later"
        )
    if opset > newest:
        raise ModelError(
            f"opset {opset} is newer than the installed onnx {onnx.__version__} knows ({newest}); "
            "upgrade onnx and ONNX Runtime, or export with a lower opset"
        )


def check_operators(model: ir.Model) -> None:
    """Refuse models that are quantized, hold other floats than float32, or are in training mode.

    Raises:
        AlreadyQuantizedError: Names the first node that shows it.
        ModelError: Likewise.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if sign := _quantized(node):
            raise AlreadyQuantizedError(
                f"the model is quantized already: {_called(node)} {sign}; "
                "give the float32 model it was made from"
            )
        if node.op_type in _WITH_PARAMETERS:
            _check_float32(node)
        if node.op_type == "BatchNormalization" and _in_training_mode(node):
            raise ModelError(
                f"{_called(node)} is in training mode, where it normalises with the statistics of "
                "the batch; export the network in eval() mode, with BatchNorm kept"
            )


def described(value: ir.Value) -> str:
    """Name, type and shape of an input in words."""
    dtype = value.dtype.name.lower() if value.dtype is not None else "unknown type"
    return f"{value.name!r} {dtype}[{', '.join(map(str, dimensions(value.shape)))}]"


def dimensions(shape: ir.Shape | None) -> tuple[int | str, ...]:
    """Sizes, names where a size is open, and ``?`` where it has no name either."""
    return tuple(
        (d if d > 0 else "?") if isinstance(d, int) else d.value or "?" for d in shape or ()
    )


def _quantized(node: ir.Node) -> str:
    """What shows that a node is quantized; empty where nothing does."""
    if node.op_type in _QUANTIZED or node.op_type.startswith("QLinear"):
        return "computes with quantized values"
    for value in node.inputs:
        constant = value.const_value if value is not None else None
        if constant is not None and constant.dtype in _NARROW and len(constant.shape) > 1:
            return f"reads {constant.dtype.name} weights"
    return ""


def _check_float32(node: ir.Node) -> None:
    for value in node.inputs[1:]:
        dtype = value.const_value.dtype if value is not None and value.const_value else None
        if dtype is not None and dtype is not ir.DataType.FLOAT:
            raise ModelError(
                f"{_called(node)} has parameters of type {dtype.name}; "
                "export the model in float32 (in PyTorch: model.float())"
            )


def _in_training_mode(node: ir.Node) -> bool:
    mode = node.attributes.get("training_mode")
    # Until opset 13 the running statistics as further outputs were the sign.
    return bool(mode.as_int()) if mode is not None else any(o.uses() for o in node.outputs[1:])


def _called(node: ir.Node) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"a {node.op_type} without a name"
