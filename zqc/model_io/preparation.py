"""What makes a model ready for the pipeline: checks, upgrades and simplification in their order.

A model that is ready is float32, without model-local functions, its parameters only in initializers
that are no inputs, of default-domain opset 13 or later, height and width fixed, BatchNorm kept,
shapes inferred, every node and value with a name of its own.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from passes.canonicalize.fold_batch_size import FoldBatchSize
from zqc.errors import InputShapeError, ModelError
from zqc.model_io import upgrade
from zqc.model_io.admission import (
    check_image_input,
    check_numbers,
    check_operators,
    check_opset,
    check_structure,
    described,
    set_plugins_apart,
)
from zqc.model_io.observed import observe

MINIMUM_OPSET = 13  # the first with QuantizeLinear and DequantizeLinear per channel


def prepared(
    proto: onnx.ModelProto, *, input_shape: tuple[int, int] | None, simplify: bool
) -> onnx.ModelProto:
    """Make a model ready.

    Runs the C++ of onnx, and of onnxsim with ``simplify``, in this process; ``child`` runs it in
    another one.

    Args:
        proto: The model as it came in, external data loaded.
        input_shape: Height and width for a model that leaves them open.
        simplify: Fold constants, too; without, the model is only harder to work on.

    Raises:
        ModelError: It is none that zqc can work on.
        InputShapeError: A size is open and not given, or given and not the model's.
        AlreadyQuantizedError: The model is quantized already.
    """
    try:
        return _prepared(proto, input_shape, simplify=simplify)
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # onnx and onnx_ir raise many kinds where a model is damaged
        raise ModelError(
            f"the model is damaged or not valid ONNX: {upgrade.first_line(_root(error))}; "
            "onnx.checker.check_model(PATH, full_check=True) may say more; export it again"
        ) from error


def inferred(proto: onnx.ModelProto) -> ir.Model:
    """Infer shapes, and fold what they show not to depend on the batch, until nothing changes."""
    model = _tidied(ir.from_proto(upgrade.infer_shapes(proto)))
    while FoldBatchSize()(model).modified:
        model = _tidied(ir.from_proto(upgrade.infer_shapes(ir.to_proto(model))))
    return model


def _prepared(
    proto: onnx.ModelProto, input_shape: tuple[int, int] | None, *, simplify: bool
) -> onnx.ModelProto:
    check_opset(upgrade.opset(proto))
    model = _normalized(upgrade.plain(proto))
    check_structure(model)
    check_operators(model)
    check_numbers(model)
    _forget_shapes(model)
    given = _fix_size(check_image_input(model), input_shape)
    # The converter spells operators more plainly where it knows the rank of their inputs.
    known = ir.to_proto(inferred(ir.to_proto(model)))
    raised = upgrade.raise_opset(known, MINIMUM_OPSET)
    if given:
        _check_size(raised)
    ready = inferred(upgrade.simplify(raised) if simplify else raised)
    observe(ready)
    result = ir.to_proto(ready)
    _check_valid(result)
    return result


def _check_valid(proto: onnx.ModelProto) -> None:
    """Refuse now what ONNX Runtime and the checker would refuse after the work.

    Raises:
        ModelError: Says what contradicts what, and where.
    """
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise ModelError(f"the model is not valid ONNX: {lines}; export it again") from error


def _root(error: BaseException) -> BaseException:
    """What an error was first, before others were raised from it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


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
    set_plugins_apart(model)
    return _tidied(model)


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
