"""What onnx and onnxsim do to a model on its way in, with what they get wrong put right.

Everything here maps a ``ModelProto`` to a ``ModelProto`` of the same value.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper, shape_inference, version_converter

from zqc.errors import ModelError

logger = logging.getLogger(__name__)

_NOISE = re.compile(r"^\[\w+Error\] |^\S+:\d+: \S+: Assertion `[^`]*` failed: ")
"""Kinds of errors, and places in its source, in the messages of onnx."""

_PROTOBUF_LIMIT = 2**31 - 1
_HALF_PIXEL_SINCE = 11  # until opset 10, Upsample and Resize sampled asymmetrically

# BatchNorm statistics are what the pictures are made from, so no BatchNorm may be fused; an Add
# behind a Conv must not become its bias, because a BatchNorm may stand behind it; equal parameters
# of two layers stay apart, because later each layer is rescaled on its own.
_SKIPPED = ["fuse_bn_into_conv", "fuse_add_bias_into_conv", "eliminate_duplicate_initializer"]


def opset(model: onnx.ModelProto) -> int:
    """Return the version of the default operator set; 0 where none is declared."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without functions of its own and without sparse tensors.

    Raises:
        ModelError: Either cannot be resolved.
    """
    return dense(inline_functions(model))


def dense(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write every sparse tensor out; a model without any is returned as it is.

    Raises:
        ModelError: A sparse tensor contradicts itself.
    """
    if not any(graph.sparse_initializer or _sparse(graph) for graph in graphs(model.graph)):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in graphs(copy.graph):
        graph.initializer.extend(map(_dense, graph.sparse_initializer))
        del graph.sparse_initializer[:]
        for attribute in _sparse(graph):
            tensor = _dense(attribute.sparse_tensor)
            attribute.CopyFrom(helper.make_attribute("value", tensor))
    return copy


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and all its subgraphs."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from graphs(inner)


def _sparse(graph: onnx.GraphProto) -> list[onnx.AttributeProto]:
    """The values of Constant nodes that are sparse."""
    return [
        attribute
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "sparse_value"
    ]


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """A sparse tensor written out: its indices are positions, or coordinates."""
    name = sparse.values.name
    try:
        values = numpy_helper.to_array(sparse.values)
        indices = numpy_helper.to_array(sparse.indices)
        if math.prod(sparse.dims) * values.itemsize >= _PROTOBUF_LIMIT:
            raise ModelError(f"the sparse tensor {name!r} is larger than 2 GB when written out")
        array = np.zeros(tuple(sparse.dims), values.dtype)
        if indices.ndim == 1:
            array.reshape(-1)[indices] = values
        else:
            array[tuple(indices.T)] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(
            f"the sparse tensor {name!r} contradicts itself: {first_line(error)}; the file is "
            "damaged, export it again"
        ) from error
    return numpy_helper.from_array(array, name)


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace every call of a model-local function by the function's body.

    Raises:
        ModelError: The functions are written for other operator sets than the model.
    """
    if not model.functions:
        return model
    try:
        inlined = inliner.inline_local_functions(model, convert_version=True)
    except RuntimeError as error:
        raise ModelError(
            f"the functions of the model cannot be inlined: {first_line(error)}; "
            "export it again with one opset for everything"
        ) from error
    left = {(f.domain, f.name) for f in inlined.functions}
    if left & {(n.domain, n.op_type) for n in inlined.graph.node}:
        raise ModelError(f"the function {sorted(left)[0][1]} of the model cannot be inlined")
    del inlined.functions[:]
    return inlined


def raise_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Raise the default operator set to ``version``; a model that has it already is returned.

    Raises:
        ModelError: An operator has no equal in the newer set.
    """
    before = opset(model)
    if before >= version:
        return model
    try:
        raised = version_converter.convert_version(model, version)
    except (RuntimeError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"the model cannot be raised from opset {before} to {version}: {first_line(error)}; "
            f"export it again with opset {version} or later"
        ) from error
    if before < _HALF_PIXEL_SINCE:
        constants = {t.name: t for t in raised.graph.initializer}
        constants |= {n.output[0]: n.attribute[0].t for n in raised.graph.node if _is_constant(n)}
        for node in raised.graph.node:
            if node.op_type == "Resize" and node.domain in ("", "ai.onnx"):
                _sample_asymmetrically(node, constants)
    return raised


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and remove what does nothing, with every BatchNorm kept.

    Simplification only makes the model easier to work on. Where onnxsim fails or loses a
    BatchNorm, the model is used as it is, and the log says so. onnxsim may print, and die: see
    ``child``.
    """
    try:
        import onnxsim

        simplified, _ = onnxsim.simplify(
            model, skip_fuse_bn=True, skipped_optimizers=_SKIPPED, certify=False
        )
    except Exception as error:  # its C++ core and its Python layers raise many kinds
        logger.warning("onnxsim failed, the model is used unsimplified: %s", first_line(error))
        return model
    before, after = _batch_norms(model), _batch_norms(simplified)
    if before != after:
        logger.warning(
            "onnxsim left %d of %d BatchNormalization, the model is used unsimplified",
            after,
            before,
        )
        return model
    result: onnx.ModelProto = simplified
    return result


def infer_shapes(model: onnx.ModelProto, *, strict: bool = False) -> onnx.ModelProto:
    """Infer the type and shape of every value that can be known.

    Raises:
        onnx.shape_inference.InferenceError: Shapes contradict each other, with ``strict`` only.
    """
    return shape_inference.infer_shapes(
        model, check_type=strict, strict_mode=strict, data_prop=True
    )


def root(error: BaseException) -> BaseException:
    """Return what an error was first, before others were raised from it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def first_line(error: BaseException) -> str:
    """Return the first line of a foreign message, cut short where it shows a whole graph."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    line = _NOISE.sub("", lines[0])
    return f"{line[:297]}…" if len(line) > 300 else line


def _sample_asymmetrically(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Say in a Resize what it meant before opset 11: onnx's converter leaves it to the defaults.

    x_in = x_out / scale, taken at the next lower position, when shrinking at the next upper one,
    as ONNX Runtime computes Upsample and Resize-10.
    """
    if any(a.name == "coordinate_transformation_mode" for a in node.attribute):
        return
    scales = constants.get(node.input[2]) if len(node.input) > 2 else None
    shrinks = scales is not None and bool((numpy_helper.to_array(scales) < 1).any())
    node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    node.attribute.append(helper.make_attribute("nearest_mode", "ceil" if shrinks else "floor"))


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.attribute[0].name == "value"


def _batch_norms(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "BatchNormalization" for node in model.graph.node)
