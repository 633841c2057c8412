"""What makes a model ready for the pipeline: checks, upgrades and simplification in their order.

A model that is ready is float32, without model-local functions, its parameters only in initializers
that are no inputs, of default-domain opset 13 or later, height and width fixed, BatchNorm kept,
shapes inferred, every node and value with a name of its own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from passes.canonicalize.canonical_batchnorm import CanonicalBatchNorm
from passes.canonicalize.drop_idle import DropIdle
from passes.canonicalize.explicit_pads import ExplicitPads
from passes.canonicalize.fold_batch_size import FoldBatchSize
from passes.canonicalize.plain_splits import PlainSplits
from passes.canonicalize.spell_swish import SpellSwish
from zqc.errors import DAMAGED, InputShapeError, ModelError, ZqcError
from zqc.model_io import float32, picture_input, trial, upgrade
from zqc.model_io.admission import (
    check_numbers,
    check_operators,
    check_opset,
    check_sizes,
    check_structure,
    described,
    set_plugins_apart,
)
from zqc.model_io.observed import observe
from zqc.pictures.model_input import further_sizes

logger = logging.getLogger(__name__)

MINIMUM_OPSET = 13  # the first with QuantizeLinear and DequantizeLinear per channel

AS_EXPORTED: tuple[ir.passes.InPlacePass, ...] = (
    DropIdle(),
    CanonicalBatchNorm(),
    SpellSwish(),
    ExplicitPads(),
    PlainSplits(),
)
"""Exact passes on the model as it was exported, before constants are folded, since some of what
they recognise is gone then, and after it."""

_DEFAULT_SIZE = (640, 640)
"""Height and width of a model that leaves them open and states none: what is usual."""

_STATED_SIZE = "imgsz"
"""Where Ultralytics writes height and width, as ``[640, 640]``."""


SIMPLIFY = "onnxsim"
"""The one step that a model can do without."""


def _quiet(step: str) -> None:
    """Tell nobody of a step."""


def prepared(
    proto: onnx.ModelProto,
    *,
    input_shape: tuple[int, int] | None,
    simplify: bool,
    run: bool = True,
    inputs: Mapping[str, Sequence[float]] | None = None,
    begin: Callable[[str], None] = _quiet,
) -> onnx.ModelProto:
    """Make a model ready.

    Runs the C++ of onnx, of onnxsim with ``simplify``, and of ONNX Runtime with ``run``, in this
    process; ``child`` runs it in another one.

    Args:
        proto: The model as it came in, external data loaded.
        input_shape: Height and width for a model that leaves them open.
        simplify: Fold constants, too; without, the model is only harder to work on.
        run: Run it as it came in and as it is then, and compare, see ``trial``.
        inputs: Values of inputs that are no pictures, row by row.
        begin: Told of each step in which foreign C++ works, in words, before it begins.

    Raises:
        ModelError: It is none that zqc can work on.
        InputShapeError: A size is open and not given, or given and not the model's.
        AlreadyQuantizedError: The model is quantized already.
    """
    try:
        return _prepared(proto, input_shape, inputs or {}, begin, simplify=simplify, run=run)
    except (ZqcError, MemoryError):
        raise
    except Exception as error:  # onnx and onnx_ir raise many kinds where a model is damaged
        raise ModelError(
            f"the model is damaged or not valid ONNX: {upgrade.first_line(upgrade.root(error))}; "
            "onnx.checker.check_model(PATH, full_check=True) may say more; export it again"
        ) from error


def inferred(proto: onnx.ModelProto) -> ir.Model:
    """Infer shapes, and fold what they show not to depend on the batch, until nothing changes."""
    model = _tidied(ir.from_proto(upgrade.infer_shapes(proto)))
    while FoldBatchSize()(model).modified:
        model = _tidied(ir.from_proto(upgrade.infer_shapes(ir.to_proto(model))))
    return model


def _prepared(
    proto: onnx.ModelProto,
    input_shape: tuple[int, int] | None,
    inputs: Mapping[str, Sequence[float]],
    begin: Callable[[str], None],
    *,
    simplify: bool,
    run: bool,
) -> onnx.ModelProto:
    check_opset(upgrade.opset(proto))
    begin("onnx")
    model = _normalized(upgrade.plain(proto))
    check_structure(model)
    model = float32.cast_up(model)
    check_operators(model)
    check_numbers(model)
    picture = picture_input.canonical(model, picture_input.find(model, inputs))
    _forget_shapes(model)
    given = _fix_sizes(model, picture, input_shape, inputs)
    # The converter spells operators more plainly where it knows the rank of their inputs.
    known = _canonical(inferred(ir.to_proto(model)))
    check_sizes(known)
    _check_declared(proto, known)
    begin("the first run of the model")
    first = trial.first_run(proto, known, inputs) if run else None
    begin("onnx's conversion to another opset")
    raised = upgrade.raise_opset(ir.to_proto(known), MINIMUM_OPSET)
    if given:
        _check_size(raised)
    begin(SIMPLIFY if simplify else "onnx")
    simplified = upgrade.simplify(raised) if simplify else raised
    begin("onnx's shape inference")
    ready = _canonical(inferred(simplified))
    check_sizes(ready)
    begin("a run of the model")
    observe(ready)
    trial.check_same(ready, first)
    result = ir.to_proto(ready)
    _check_valid(result)
    return result


def _check_declared(proto: onnx.ModelProto, known: ir.Model) -> None:
    """Refuse a value inside that is declared with another number of dimensions than it has.

    Sizes are no sign of damage: exporters leave those of another picture behind.
    """
    declared = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in proto.graph.value_info
        if value.type.tensor_type.HasField("shape")
    }
    for node in known.graph:
        for value in node.outputs:
            rank = declared.get(value.name or "")
            if rank is None or value.shape is None or node.domain != "":
                continue
            if rank != len(value.shape):
                raise ModelError(
                    f"the file declares {value.name!r} with {rank} dimensions, but {node.op_type} "
                    f"gives it {len(value.shape)}; {DAMAGED}"
                )


def _canonical(model: ir.Model) -> ir.Model:
    """Run the exact passes until nothing changes: what one resolves shows shapes to the others."""
    while ir.passes.Sequential(*AS_EXPORTED)(model).modified:
        _forget_shapes(model)  # onnx infers none behind output_shape, and a wrong one for itself
        model = inferred(ir.to_proto(model))
    return model


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
    return _tidied(common.RemoveInitializersFromInputsPass()(model).model)


def _tidied(model: ir.Model) -> ir.Model:
    """Constants to initializers, dead code and the exporter's notes away, unique names."""
    passes = ir.passes.Sequential(
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


def _fix_sizes(
    model: ir.Model,
    picture: ir.Value,
    size: tuple[int, int] | None,
    inputs: Mapping[str, Sequence[float]],
) -> bool:
    """Fix the sizes of all inputs, but for the batch; return whether a size had to be chosen.

    Height and width that the model leaves open are those of ``size``, those that its metadata
    state, or ``_DEFAULT_SIZE``.

    Raises:
        InputShapeError: ``size`` is given, and not the one that the model has.
    """
    declared = picture_input.sizes_of(picture)
    batch, channels, *sides = declared
    fixed: list[int] = []
    chosen, origin = _stated_size(model.metadata_props)
    for side, given, other in zip(sides, size or (None, None), chosen, strict=True):
        if isinstance(side, int) and given not in (None, side):
            raise InputShapeError(
                f"the size of the input {described(picture)} is fixed; "
                "leave --input-shape out or give that one"
            )
        fixed.append(side if isinstance(side, int) else given or other)
    found = fixed != sides
    if found and size is None:
        logger.warning(
            "the model leaves its height and width open; taken, and fixed in what is written: %s, "
            "%s; --input-shape HxW takes others",
            "x".join(map(str, fixed)),
            origin,
        )
    name = batch if isinstance(batch, int) or (batch and batch not in sides) else "batch"
    picture.shape = ir.Shape([name, channels, *fixed])
    known = (*declared, *picture_input.sizes_of(picture))
    for value in model.graph.inputs[1:]:
        if value.shape is not None:
            values = inputs.get(value.name or "")
            sizes = further_sizes(value.name or "", picture_input.sizes_of(value), values, known)
            value.shape = ir.Shape(sizes)
    return found


def _stated_size(metadata: Mapping[str, str]) -> tuple[tuple[int, int], str]:
    """Height and width for a model that leaves them open, and who says so."""
    try:
        stated = json.loads(metadata.get(_STATED_SIZE, ""))
    except ValueError:
        return _DEFAULT_SIZE, "the default"
    sides = stated if isinstance(stated, list) else [stated, stated]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        return _DEFAULT_SIZE, "the default"
    return (sides[0], sides[1]), f"as {_STATED_SIZE} in its metadata says"


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
