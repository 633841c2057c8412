"""What ``zqc inspect`` says about a model."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from passes.analysis.topology import inner_layers, post_processing, weighted_layers
from passes.layers import layer_of
from zqc.commands.arguments import ModelLike, model_of
from zqc.errors import MissingPackageError, RuntimeFailure
from zqc.model_io import model_file
from zqc.model_io.admission import dimensions
from zqc.pictures.model_input import picture_shape
from zqc.recipe.recipe import values_of
from zqc.report.printing import Printable
from zqc.runtime.executed import tail_starts
from zqc.statistics.state import State, statistics_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.model_io.model_file import LoadedModel
    from zqc.pictures.model_input import FurtherInput


_PICTURE_RANK = 4

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
        shape: Sizes of its weight; empty where that is computed.
    """

    op_type: str
    name: str
    inside: str = ""
    shape: tuple[int, ...] = ()


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
        statistics_state: Whether their statistics can be read, are those that training begins with,
            or are gone.
        statistics: What that means for calibration.
        advice: The command that comes next.
        detector: How its outputs are read; or why they cannot be.
        open_size: The height and width that were taken, where the model leaves them open.
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
    statistics_state: State
    statistics: str
    advice: str
    detector: str
    open_size: tuple[int, int] | None
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
    _, height, width = picture_shape(source.model)
    is_open = input_shape is None and _is_open(source)
    state = statistics_state(source.model)
    return Inspection(
        path=source.name,
        sha256=source.sha256,
        bytes_on_disk=source.bytes_on_disk,
        producer=" ".join(filter(None, (loaded.producer_name, loaded.producer_version))),
        opset=source.opset,
        ir_version=source.ir_version,
        inputs=_inputs(source, graph.inputs, declared=is_open),
        outputs=_outputs(source, graph.outputs, declared=is_open),
        parameters=sum(
            math.prod(value.shape.numpy())
            for value in graph.initializers.values()
            if value.dtype is ir.DataType.FLOAT and value.shape is not None
        ),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        layers=(
            *(NodeName(n.op_type, n.name or "", "", _weight(n)) for n in weighted_layers(graph)),
            *(
                NodeName(n.op_type, n.name or "", o.op_type, _weight(n))
                for n, o in inner_layers(graph)
            ),
        ),
        batch_norms=operators["BatchNormalization"],
        statistics_state=state,
        statistics=_MEANINGS[state],
        advice=_next(source, (height, width) if is_open else None),
        detector=_detector(source),
        open_size=(height, width) if is_open else None,
        post_processing=len(post_processing(graph)),
        post_processing_begins=tail_starts(loaded),
        metadata=dict(loaded.metadata_props),
    )


def _detector(source: LoadedModel) -> str:
    """How its outputs are read, which a run shows; a model need not run to be inspected."""
    try:
        from zqc.commands.detector import detector_of  # ONNX Runtime may not be there

        return detector_of(source).text
    except (MissingPackageError, RuntimeFailure) as error:
        return f"not known, as the model cannot be run: {error}"


def _is_open(source: LoadedModel) -> bool:
    """Whether the file leaves the height or the width of its picture open."""
    sizes = _declared(source)[source.interface.taken.picture.name]
    if len(sizes) != _PICTURE_RANK:
        return True
    sides = sizes[1:3] if source.interface.taken.picture.channels_last else sizes[2:]
    return not all(isinstance(side, int) for side in sides)


def _declared(source: LoadedModel) -> dict[str, tuple[int | str, ...]]:
    """The sizes of inputs and outputs as the file has them; none where it does not say."""
    ports = (*source.interface.inputs, *source.interface.outputs)
    return {port.name: dimensions(port.shape) for port in ports}


def _inputs(
    source: LoadedModel, inputs: Sequence[ir.Value], *, declared: bool
) -> tuple[Tensor, ...]:
    """The inputs; where they are not one float picture, channels first, with what each is."""
    taken = source.interface.taken
    read = {value.name for value in source.model.graph.inputs}
    notes = {one.name: f"fed with {_values(one)}" for one in taken.further if one.name in read}
    notes |= {one.name: "read by nothing" for one in taken.further if one.name not in read}
    if len(inputs) > 1 or taken.picture.channels_last:
        notes[taken.picture.name] = "the picture" + ", channels last" * taken.picture.channels_last
    tensors = _as_declared(source, inputs) if declared else map(_tensor, inputs)
    return tuple(replace(tensor, note=notes.get(tensor.name, "")) for tensor in tensors)


def _outputs(
    source: LoadedModel, outputs: Sequence[ir.Value], *, declared: bool
) -> tuple[Tensor, ...]:
    return tuple(_as_declared(source, outputs) if declared else map(_tensor, outputs))


def _as_declared(source: LoadedModel, values: Sequence[ir.Value]) -> list[Tensor]:
    """What the file says, and not what became of it at one size."""
    sizes = _declared(source)
    return [
        replace(tensor, shape=sizes[tensor.name] or tensor.shape) for tensor in map(_tensor, values)
    ]


def _weight(node: ir.Node) -> tuple[int, ...]:
    layer = layer_of(node)
    return () if layer is None else tuple(layer.weight.shape)


_MEANINGS: Mapping[State, str] = {
    "kept": "calibration pictures can be synthesised from their statistics",
    "untrained": "all means are 0 and all variances 1, as before training: export the trained "
    "network, or nothing that is synthesised from them resembles a picture",
    "folded": "nothing to synthesise from, it has been folded into the layers: calibrated with "
    "structured noise, unless --statistics (the checkpoint will do) or --images is given",
}


def _next(source: LoadedModel, size: tuple[int, int] | None) -> str:
    """The command to type next."""
    command = f"zqc compile {shlex.quote(source.name)}"
    if size is not None:
        command += f" --input-shape {size[0]}x{size[1]}"
    return command


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
