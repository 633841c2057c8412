"""What ``zqc inspect`` says about a model."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from passes.analysis.topology import inner_layers, post_processing, weighted_layers
from zqc.commands.arguments import ModelLike, model_of
from zqc.model_io import model_file
from zqc.model_io.admission import dimensions
from zqc.recipe.recipe import values_of
from zqc.report.printing import Printable
from zqc.runtime.executed import tail_starts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zqc.model_io.model_file import LoadedModel
    from zqc.pictures.model_input import FurtherInput


_SHOWN = 4
"""Values of an input that are shown."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: Its name.
        dtype: Element type as numpy calls it, such as ``float32``; ``string``, or ``sequence of
            float32``, for what is no tensor of numbers.
        shape: One entry per dimension: its size, its name, or ``?``; None when even the number of
            dimensions is unknown.
        note: What an input is: the picture, or what it is fed with.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None
    note: str = ""


@dataclass(frozen=True)
class NodeName:
    """A node.

    Attributes:
        op_type: Its operator.
        name: Its name.
        inside: The operator that it stands inside of, where it stays float: If, Loop, …
    """

    op_type: str
    name: str
    inside: str = ""


@dataclass(frozen=True)
class Inspection(Printable):
    """What a model is made of, after loading: functions inlined, constants folded.

    Attributes:
        path: The file, or ``the model`` for one in memory.
        sha256: Hash of the file and of its external data.
        bytes_on_disk: Size of both together.
        producer: What wrote the file.
        opset: Version of the default operator set in the file.
        ir_version: Version of the intermediate representation in the file.
        inputs: Inputs of the graph.
        outputs: Outputs of the graph.
        parameters: Number of values in float initializers.
        operators: Number of nodes by operator type, the most frequent first.
        layers: Weighted nodes (Conv, ConvTranspose, Gemm, MatMul), in graph order; those that stand
            inside of an If or a Loop last.
        batch_norms: Number of BatchNormalization nodes, from which pictures are synthesised.
        post_processing: Number of nodes from which no weighted node can be reached.
        post_processing_begins: Those of them, operator and name, that read what the layers give.
        metadata: The model's ``metadata_props``.
    """

    text_by = ("zqc.report.text", "inspected")

    path: str
    sha256: str
    bytes_on_disk: int
    producer: str
    opset: int
    ir_version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    operators: dict[str, int]
    layers: tuple[NodeName, ...]
    batch_norms: int
    post_processing: int
    post_processing_begins: tuple[str, ...]
    metadata: dict[str, str]


def inspect(
    model: ModelLike,
    *,
    input_shape: tuple[int, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Inspection:
    """Say what a model is made of.

    Example:
        >>> import zqc
        >>> print(zqc.inspect("model.onnx"))

    Args:
        model: A model: its path, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        input_shape: Height and width for a model that leaves them open.
        inputs: Values of inputs beside the picture by name; the usual ones by default.

    Returns:
        What it is made of; ``print`` shows it as the command does.

    Raises:
        ModelError: The model cannot be used.
    """
    source = model_file.load(model_of(model), input_shape=input_shape, inputs=values_of(inputs))
    loaded = source.whole()
    graph = loaded.graph
    operators = Counter(node.op_type for node in graph)
    return Inspection(
        path=source.name,
        sha256=source.sha256,
        bytes_on_disk=source.bytes_on_disk,
        producer=" ".join(filter(None, (loaded.producer_name, loaded.producer_version))),
        opset=source.opset,
        ir_version=source.ir_version,
        inputs=_inputs(source, graph.inputs),
        outputs=tuple(map(_tensor, graph.outputs)),
        parameters=sum(
            math.prod(value.shape.numpy())
            for value in graph.initializers.values()
            if value.dtype is ir.DataType.FLOAT and value.shape is not None
        ),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        layers=(
            *(NodeName(n.op_type, n.name or "") for n in weighted_layers(graph)),
            *(NodeName(n.op_type, n.name or "", o.op_type) for n, o in inner_layers(graph)),
        ),
        batch_norms=operators["BatchNormalization"],
        post_processing=len(post_processing(graph)),
        post_processing_begins=tail_starts(loaded),
        metadata=dict(loaded.metadata_props),
    )


def _inputs(source: LoadedModel, inputs: Sequence[ir.Value]) -> tuple[Tensor, ...]:
    """The inputs; where they are not one float picture, channels first, with what each is."""
    taken = source.interface.taken
    read = {value.name for value in source.model.graph.inputs}
    notes = {one.name: f"fed with {_values(one)}" for one in taken.further if one.name in read}
    notes |= {one.name: "read by nothing" for one in taken.further if one.name not in read}
    if len(inputs) > 1 or taken.picture.channels_last:
        notes[taken.picture.name] = "the picture" + ", channels last" * taken.picture.channels_last
    return tuple(replace(_tensor(one), note=notes.get(one.name or "", "")) for one in inputs)


def _values(one: FurtherInput) -> str:
    numbers = [f"{number:g}" for number in one.value.reshape(-1)]
    if len(set(numbers)) == 1:
        return numbers[0]
    return ",".join(numbers[:_SHOWN]) + ",…" * (len(numbers) > _SHOWN)


def _tensor(value: ir.Value) -> Tensor:
    dtype = "unknown" if value.dtype is None else value.dtype.numpy().name
    if value.dtype is ir.DataType.STRING:
        dtype = "string"
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        dtype = (
            f"{'sequence' if isinstance(value.type, ir.SequenceType) else 'optional'} of {dtype}"
        )
    shape = None if value.shape is None else dimensions(value.shape)
    return Tensor(value.name or "", dtype, shape)
