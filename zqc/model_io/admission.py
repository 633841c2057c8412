"""Which models the pipeline takes: each check refuses one kind and says what to do instead."""

from __future__ import annotations

import logging
import math
import re

import numpy as np
import onnx
import onnx_ir as ir

from passes.graph import constant, float_attribute, int_attribute, ints, scalar
from zqc.errors import DAMAGED, AlreadyQuantizedError, ModelError
from zqc.model_io.tensors import MOST_ELEMENTS

logger = logging.getLogger(__name__)

OLDEST_OPSET = 7
PLUGINS = "zqc.plugins"
"""The domain of TensorRT's plugins, inside zqc, where the file has them in the default domain."""

_PLUGIN = re.compile(r"\w+_TRT|\w*Plugin\w*", re.ASCII)

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
_PASSING = frozenset({"Concat", "Expand", "Gather", "Reshape", "ScatterND", "Where"})
"""Operators from which the NaN in a constant need not go anywhere."""
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


def set_plugins_apart(model: ir.Model) -> None:
    """Move operators that are called as TensorRT calls its plugins into a domain of their own.

    TensorRT takes them from the default domain, too, where nothing else of ONNX takes them.

    Raises:
        ModelError: The default domain has no such operator, and it is not called like a plugin.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "" and not onnx.defs.has(node.op_type):
            if not _PLUGIN.fullmatch(node.op_type):
                raise ModelError(
                    f"{_called(node)}: ONNX has no operator {node.op_type!r}; if it is one of "
                    "another runtime, export it with a domain of its own, otherwise the file is "
                    "damaged: export or download it again"
                )
            node.domain = PLUGINS
            model.opset_imports[PLUGINS] = 1


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


def check_structure(model: ir.Model) -> None:
    """Refuse nodes whose parameters do not belong together, or leave nothing of what goes in.

    Raises:
        ModelError: Names the first one.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain != "":
            continue
        if node.op_type == "BatchNormalization":
            lengths = {array.size for v in node.inputs[1:] if (array := constant(v)) is not None}
            if len(lengths) > 1:
                raise ModelError(
                    f"the parameters of {_called(node)} are for {sorted(lengths)} channels; "
                    f"{DAMAGED}"
                )
        if node.op_type in ("Conv", "ConvTranspose"):
            _check_convolution(node)
        if node.op_type == "Clip":
            _check_bounds(node)


def check_sizes(model: ir.Model) -> None:
    """Refuse tensors that no machine holds; an open batch counts as one picture.

    Raises:
        ModelError: Names the first one, and what computes it.
    """
    makers = [(_called(node), node.outputs) for node in model.graph.all_nodes()]
    for maker, values in [("the model", model.graph.inputs), *makers]:
        for value in values:
            sizes = [d for d in value.shape or () if isinstance(d, int)]
            if math.prod(sizes) > MOST_ELEMENTS:
                raise ModelError(
                    f"{maker} has {value.name!r} of shape "
                    f"[{', '.join(map(str, dimensions(value.shape)))}], which no machine holds; "
                    "give a smaller --input-shape, or export the model again"
                )


def _check_convolution(node: ir.Node) -> None:
    """Refuse weights of another kernel than the attributes say, or of no whole groups."""
    weights = constant(node.inputs[1])
    if weights is None:
        return
    kernel, group = ints(node, "kernel_shape", weights.shape[2:]), int_attribute(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
    if weights.ndim < 3 or kernel != weights.shape[2:]:
        fault = f"a kernel of {list(kernel)}"
    elif weights.shape[0] % group:
        fault = f"{group} groups"
    else:
        strides = ints(node, "strides", ())
        if not strides or len(strides) == weights.ndim - 2:
            biases = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            outputs = weights.shape[1] * group if transposed else weights.shape[0]
            if biases is None or biases.shape == (outputs,):
                return
            fault = f"biases of shape {list(biases.shape)}"
        else:
            fault = f"strides {list(strides)}"
    raise ModelError(
        f"{_called(node)} has {fault}, and weights of shape {list(weights.shape)}; {DAMAGED}"
    )


def _check_bounds(node: ir.Node) -> None:
    """Refuse bounds that leave one number of all that goes in."""
    if any(
        (array := constant(value)) is not None and array.dtype.kind != "f"
        for value in node.inputs[1:]
    ):
        return
    low, high = (scalar(value) for value in (*node.inputs[1:], None, None)[:2])
    if low is None and high is None and "min" in node.attributes and "max" in node.attributes:
        low, high = (float_attribute(node, name, math.nan) for name in ("min", "max"))
    if low is not None and high is not None and low >= high:
        raise ModelError(
            f"{_called(node)} has the bounds {low:g} and {high:g}, which leave nothing of its "
            f"input; {DAMAGED}"
        )


def check_numbers(model: ir.Model) -> None:
    """Refuse parameters that make every result NaN; warn of variances that no training leaves.

    Infinity is a bound like any other, and the filling of masks, but no weight.

    Raises:
        ModelError: Names the first parameter.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.inputs:
            array = None if value is None else constant(value)
            if value is None or array is None or array.dtype.kind != "f":
                continue
            worst = "NaN" if node.op_type not in _PASSING and np.isnan(array).any() else ""
            if node.op_type in _WITH_PARAMETERS and np.isinf(array).any():
                worst = worst or "an infinite number"
            if worst:
                raise ModelError(
                    f"the parameter {value.name!r} of {_called(node)} holds {worst}, so the model "
                    "computes nothing; take a checkpoint from before the training diverged"
                )
        if node.op_type == "BatchNormalization":
            _check_variances(node)


def _check_variances(node: ir.Node) -> None:
    variances = constant(node.inputs[4]) if len(node.inputs) > 4 else None
    if variances is None or not (variances < 0).any():
        return
    epsilon = float_attribute(node, "epsilon", 1e-5)
    found = f"{_called(node)} has the variance {variances.min():.3g}"
    if (variances + epsilon <= 0).any():
        raise ModelError(
            f"{found}, which is negative even with its epsilon of {epsilon:.3g}, so the model "
            "computes nothing; {DAMAGED}"
        )
    logger.warning(
        "%s, which no training leaves: it is computed as ONNX Runtime does, and no picture is made "
        "to match its statistics, or those behind it",
        found,
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
