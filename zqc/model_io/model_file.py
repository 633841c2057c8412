"""The border: read, check, upgrade and simplify a model; write one atomically.

What ``load`` returns is ready for everything that follows: float32, no model-local functions,
parameters only in initializers that are no inputs, default-domain opset 13 or later, height and
width fixed, BatchNorm kept, shapes inferred, every node and value with a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from google.protobuf.message import EncodeError
from onnx_ir.passes import common

from passes.canonicalize.fold_batch_size import FoldBatchSize
from zqc.errors import InputShapeError, ModelError, OutputError
from zqc.files import atomic_write
from zqc.model_io import lowest_opset, onnx_file, upgrade
from zqc.model_io.admission import (
    check_image_input,
    check_operators,
    check_opset,
    described,
    dimensions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MINIMUM_OPSET = 13  # the first with QuantizeLinear and DequantizeLinear per channel
INT4_OPSET = 21  # the first with INT4 in Cast and DequantizeLinear
METADATA_PREFIX = "zqc."


@dataclass(frozen=True)
class LoadedModel:
    """A model as it came in.

    Attributes:
        model: The model, ready for the pipeline.
        path: The file it was read from.
        sha256: Hash of the file, and of the external data behind it, in hexadecimal.
        bytes_on_disk: Size of both together.
        opset: Default operator set that the file declares.
        ir_version: IR version that it declares.
    """

    model: ir.Model
    path: Path
    sha256: str
    bytes_on_disk: int
    opset: int
    ir_version: int


def load(path: Path, *, input_shape: tuple[int, int] | None = None) -> LoadedModel:
    """Read a float32 detector and make it ready for the pipeline.

    Args:
        path: An ONNX file, opset 7 or later, with its external data beside it.
        input_shape: Height and width for a model that leaves them open.

    Raises:
        ModelError: The file cannot be read, or the model is none that zqc can work on.
        InputShapeError: A size is open and not given, or given and not the model's.
        AlreadyQuantizedError: The model is quantized already.
    """
    file = onnx_file.read(path)
    opset = upgrade.opset(file.proto)
    try:
        check_opset(opset)
        model = _normalized(upgrade.inline_functions(file.proto))
        check_operators(model)
        _forget_shapes(model)
        given = _fix_size(check_image_input(model), input_shape)
        # The converter spells operators more plainly where it knows the rank of their inputs.
        known = ir.to_proto(_inferred(ir.to_proto(model)))
        raised = upgrade.raise_opset(known, MINIMUM_OPSET)
        if given:
            _check_size(raised)
        model = _inferred(upgrade.simplify(raised))
    except ModelError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    _keep_interface(file.proto, model)
    return LoadedModel(model, path, file.sha256, file.size, opset, file.proto.ir_version)


def raise_opset(model: ir.Model, version: int) -> ir.Model:
    """Raise the default operator set of a model to ``version`` and infer its shapes anew.

    A model that has the version already is returned as it is.

    Raises:
        ModelError: An operator has no equal in the newer set.
    """
    if model.opset_imports[""] >= version:
        return model
    proto = ir.to_proto(model)
    raised = _inferred(upgrade.raise_opset(proto, version))
    _keep_interface(proto, raised)
    return raised


def serialize(model: ir.Model, *, metadata: Mapping[str, str]) -> bytes:
    """Return the file of a model, with the lowest opset and IR version that hold it.

    The same model gives the same bytes: shapes of intermediate values are left out, since every
    runtime infers them itself.

    Args:
        model: What to write; it stays as it is.
        metadata: Added to the model's own ``metadata_props``, each key behind ``zqc.``.

    Raises:
        OutputError: The model is not valid ONNX, or larger than protobuf can hold.
    """
    added = {METADATA_PREFIX + key: value for key, value in metadata.items()}
    try:
        proto = ir.to_proto(lowest_opset.lowered(model))
        del proto.graph.value_info[:]
        imports = proto.opset_import
        proto.ir_version = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
        onnx.helper.set_model_props(proto, dict(sorted((model.metadata_props | added).items())))
        content: bytes = proto.SerializeToString(deterministic=True)
        onnx.checker.check_model(proto)
    except (EncodeError, ValueError) as error:
        raise OutputError("the result would be larger than 2 GB, which ONNX cannot hold") from error
    except onnx.checker.ValidationError as error:
        raise OutputError(f"the result would not be valid ONNX: {error}") from error
    return content


def save(model: ir.Model, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write the file of a model, complete or not at all, see ``serialize``.

    Raises:
        OutputError: The model cannot be serialized, or the file cannot be written.
    """
    with atomic_write(path) as file:
        file.write(serialize(model, metadata=metadata))


def _normalized(proto: onnx.ModelProto) -> ir.Model:
    """Put parameters into initializers alone and drop what nothing uses."""
    try:
        model = ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError, TypeError) as error:
        raise ModelError(f"the model is damaged: {error}") from error
    # Before IR version 4 every initializer had to be an input, too.
    model.ir_version = max(model.ir_version, 8)
    if "ai.onnx" in model.opset_imports:
        model.opset_imports[""] = model.opset_imports.pop("ai.onnx")
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "ai.onnx":
            node.domain = ""
    return _tidied(model)


def _inferred(proto: onnx.ModelProto) -> ir.Model:
    """Infer shapes, and fold what they show not to depend on the batch, until nothing changes."""
    model = _tidied(ir.from_proto(upgrade.infer_shapes(proto)))
    while FoldBatchSize()(model).modified:
        model = _tidied(ir.from_proto(upgrade.infer_shapes(ir.to_proto(model))))
    return model


def _tidied(model: ir.Model) -> ir.Model:
    """Constants to initializers, dead code and the exporter's notes away, unique names."""
    passes = ir.passes.Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.ClearMetadataAndDocStringPass(),
        common.TopologicalSortPass(),
        common.NameFixPass(name_generator=_NamedAfterOperator()),
    )
    return passes(model).model


class _NamedAfterOperator(common.naming.SimpleNameGenerator):
    """Calls a node that has no name after its operator."""

    def generate_node_name(self, node: ir.Node) -> str:
        return node.name or node.op_type.lower()


def _forget_shapes(model: ir.Model) -> None:
    """Drop the shapes that exporters leave behind: they speak of another size, or of none.

    What operators of other domains give back stays: nothing can infer it again. Outputs of the
    graph keep their rank, without which onnxsim refuses a model.
    """
    for node in model.graph:
        for value in node.outputs:
            if value.is_graph_output() and value.shape is not None:
                value.shape = ir.Shape([None] * len(value.shape))
            elif node.domain == "":
                value.shape = None


def _fix_size(image: ir.Value, size: tuple[int, int] | None) -> bool:
    """Fix height and width of the input, keep its batch; return whether ``size`` was needed.

    Raises:
        InputShapeError: A size is open and not given, or given and not the one that the model has.
    """
    batch, channels, *declared = image.shape or ir.Shape([None] * 4)
    fixed: list[int] = []
    for dimension, given in zip(declared, size or (None, None), strict=True):
        if isinstance(dimension, int) and dimension > 0:
            if given not in (None, dimension):
                raise InputShapeError(
                    f"the size of the input {described(image)} is fixed; "
                    "leave --input-shape out or give that one"
                )
            fixed.append(dimension)
        elif given is None:
            raise InputShapeError(
                f"the input {described(image)} leaves its height and width open; "
                "give them with --input-shape HxW, for example --input-shape 640x640"
            )
        else:
            fixed.append(given)
    if isinstance(batch, int) and batch > 0:
        image.shape = ir.Shape([batch, channels, *fixed])
    else:
        name = getattr(batch, "value", None)
        others = {getattr(dimension, "value", None) for dimension in declared}
        image.shape = ir.Shape([name if name and name not in others else "batch", channels, *fixed])
    return fixed != declared


def _check_size(proto: onnx.ModelProto) -> None:
    """Refuse a height and width from the options that the layers do not fit together at.

    Raises:
        InputShapeError: Shape inference finds a contradiction that it does not find when height
            and width are open.
    """
    try:
        upgrade.infer_shapes(proto, strict=True)
    except onnx.shape_inference.InferenceError as error:
        trial = onnx.ModelProto()
        trial.CopyFrom(proto)
        del trial.graph.value_info[:]  # shapes at the size in question
        _, _, height, width = trial.graph.input[0].type.tensor_type.shape.dim
        size = f"{height.dim_value}x{width.dim_value}"
        height.dim_param, width.dim_param = "height", "width"
        try:
            upgrade.infer_shapes(trial, strict=True)
        except onnx.shape_inference.InferenceError:
            return  # contradictory at any size: ONNX Runtime has the last word
        raise InputShapeError(
            f"the layers do not fit together at --input-shape {size}: {upgrade.first_line(error)}; "
            "most detectors need multiples of 32"
        ) from error


def _keep_interface(before: onnx.ModelProto, model: ir.Model) -> None:
    """Carry over what users wrote into a model and what shape inference could not find out."""
    model.metadata_props.clear()
    model.metadata_props.update({entry.key: entry.value for entry in before.metadata_props})
    model.producer_name, model.producer_version = before.producer_name, before.producer_version
    model.domain, model.model_version = before.domain, before.model_version
    model.doc_string, model.graph.name = before.doc_string, before.graph.name
    for value, declared in zip(model.graph.outputs, before.graph.output, strict=True):
        value.shape = _merged(value.shape, ir.serde.deserialize_value_info_proto(declared, None))


def _merged(inferred: ir.Shape | None, declared: ir.Value) -> ir.Shape | None:
    """The inferred shape, with the declared size or name where inference found no number."""
    if declared.shape is None:
        return inferred
    known = [None if size == "?" else size for size in dimensions(declared.shape)]
    if inferred is None:
        return ir.Shape(known)
    if len(inferred) != len(known):
        return inferred
    pairs = zip(inferred, known, strict=True)
    return ir.Shape(new if isinstance(new, int) or old is None else old for new, old in pairs)
