"""What a file takes and gives, where that is not the form that zqc works with.

A loaded model takes its picture as float32, channels first, and gives float32. Its further inputs
have a value, that of an initializer of the same name: ONNX's form of an input that need not be fed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from passes.graph import Namer, constant
from zqc.model_io.declarations import restore
from zqc.pictures.model_input import (
    FurtherInput,
    ModelInputs,
    PictureInput,
    check_known,
    further_input,
    further_sizes,
    has_channels_last,
    picture_shape,
)

_TO_FIRST = (0, 3, 1, 2)


@dataclass(frozen=True)
class Port:
    """An input or an output as the file declares it.

    Attributes:
        name: Its name.
        type: Its type; None where it is not declared.
        shape: Its sizes, open ones as the file calls them; None where they are not declared.
    """

    name: str
    type: ir.TypeProtocol | None
    shape: ir.Shape | None

    @classmethod
    def of(cls, proto: onnx.ValueInfoProto) -> Port:
        """Read what a file declares."""
        value = ir.serde.deserialize_value_info_proto(proto, None)
        return cls(proto.name, value.type, value.shape)

    @property
    def dtype(self) -> ir.DataType | None:
        """The type of its elements, where it is a tensor."""
        return self.type.dtype if isinstance(self.type, ir.TensorType) else None


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a file.

    Attributes:
        inputs: Its inputs, in its order.
        outputs: Its outputs.
        taken: What the inputs are fed with.
        declared: How the file declares inputs and outputs.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    taken: ModelInputs
    declared: tuple[tuple[onnx.ValueInfoProto, ...], tuple[onnx.ValueInfoProto, ...]]

    @classmethod
    def of(
        cls, proto: onnx.ModelProto, model: ir.Model, values: Mapping[str, Sequence[float]]
    ) -> Interface:
        """Compare a file with the model that it was made ready as, and find its values.

        Args:
            proto: The file.
            model: The model: its first input is the picture.
            values: Those that are given for further inputs.

        Raises:
            OptionError: No value is known for an input, or one is given for none.
        """
        inputs = declared_inputs(proto)
        source = model.graph.inputs[0]
        names = [port.name for port in inputs]
        check_known(values, names, source.name or "")
        (declared,) = (port for port in inputs if port.name == source.name)
        last = has_channels_last(_open(declared.shape))
        dtype = (declared.dtype or ir.DataType.FLOAT).numpy()
        picture = PictureInput(source.name or "", dtype, last)
        _, height, width = picture_shape(model)
        read = {value.name: value for value in model.graph.inputs[1:]}
        further = []
        for port in inputs:
            if port is declared:
                continue
            fixed = read[port.name].shape if port.name in read else port.shape
            further.append(
                _further(port, fixed, values.get(port.name), (height, width))
                if port.name in read
                else _unread(port, declared, source)
            )
        outputs = tuple(map(Port.of, proto.graph.output))
        declared_as = tuple(proto.graph.input), tuple(proto.graph.output)
        return cls(tuple(inputs), outputs, ModelInputs(picture, tuple(further)), declared_as)

    def give_values(self, model: ir.Model) -> None:
        """Give the further inputs of a loaded model their values."""
        values = {one.name: one.value for one in self.taken.further}
        for value in model.graph.inputs[1:]:
            array = values[value.name or ""].astype(_numpy(value.dtype))
            value.const_value = ir.tensor(array, name=value.name)
            model.graph.register_initializer(value)

    def restored(self, model: ir.Model) -> ir.Model:
        """Return a model with the inputs and outputs of the file.

        Args:
            model: A model with those that zqc works with. It stays as it is; where the file has the
                same, it is returned.
        """
        if not self._differs(model):
            return model
        model = model.clone()
        graph = model.graph
        found = {value.name: value for value in graph.inputs}
        sizes = self._known_sizes(graph.inputs[0])
        restored = []
        for port in self.inputs:
            value = found.get(port.name)
            if value is None:
                restored.append(_unread_value(port, sizes))
                continue
            graph.initializers.pop(port.name, None)
            value.const_value = None
            picture = self.taken.picture
            last = picture.channels_last and picture.name == port.name
            restored.append(_restored_input(graph, value, port, channels_last=last))
            if picture.name != port.name and port.shape is not None and value.shape is not None:
                pairs = zip(port.shape, value.shape, strict=True)
                known = [new if isinstance(new, int) else old for old, new in pairs]
                restored[-1].shape = ir.Shape(known)
        graph.inputs[:] = restored
        for value in list(graph.outputs):
            dtype = self._cast_of(value)
            if dtype is not None:
                _cast_output(graph, value, dtype)
        return model

    def declare(self, graph: onnx.GraphProto) -> None:
        """Declare inputs and outputs of a graph as the file does, in place, see ``restore``."""
        restore(graph, *self.declared)

    def _differs(self, model: ir.Model) -> bool:
        """Whether the file has other inputs or outputs than a model."""
        names = [value.name for value in model.graph.inputs]
        picture = self.taken.picture
        return (
            names != [port.name for port in self.inputs]
            or bool(self.taken.further)
            or picture != PictureInput(picture.name, np.dtype(np.float32))
            or any(map(self._cast_of, model.graph.outputs))
        )

    def _cast_of(self, value: ir.Value) -> ir.DataType | None:
        """The type that an output has to be cast to; None where it is that of the file."""
        if value.is_graph_input() or value.dtype is not ir.DataType.FLOAT:
            return None
        declared = next((port.dtype for port in self.outputs if port.name == value.name), None)
        return None if declared is ir.DataType.FLOAT else declared

    def _known_sizes(self, picture: ir.Value) -> dict[str, int]:
        """What the names of open sizes of the picture have become."""
        (port,) = (port for port in self.inputs if port.name == picture.name)
        pairs = zip(_channels_first(port.shape), _open(picture.shape), strict=True)
        return {old: new for old, new in pairs if isinstance(old, str) and isinstance(new, int)}


_RESULTS = {"Cast": "float", "Transpose": "channels_first"}


def declared_inputs(proto: onnx.ModelProto) -> tuple[Port, ...]:
    """The inputs of a file; parameters, which old files list among them, are none."""
    parameters = {tensor.name for tensor in proto.graph.initializer}
    return tuple(Port.of(value) for value in proto.graph.input if value.name not in parameters)


def _further(
    port: Port,
    fixed: ir.Shape | None,
    values: Sequence[float] | None,
    picture: tuple[int, int],
) -> FurtherInput:
    """What an input that is read is fed with."""
    return further_input(port.name, _numpy(port.dtype), _open(fixed), values, picture)


def _unread(port: Port, declared: Port, picture: ir.Value) -> FurtherInput:
    """What an input that nothing reads is fed with: ones, of a shape that will do."""
    known = (*_channels_first(declared.shape), *_open(picture.shape))
    sizes = further_sizes(port.name, _open(port.shape), None, known)
    per_picture = bool(sizes) and not isinstance(sizes[0], int)
    shape = tuple(size if isinstance(size, int) else 1 for size in sizes)
    return FurtherInput(port.name, np.ones(shape, _numpy(port.dtype)), per_picture)


def _numpy(dtype: ir.DataType | None) -> np.dtype[Any]:
    return np.dtype(object) if dtype in (None, ir.DataType.STRING) else dtype.numpy()


def _channels_first(shape: ir.Shape | None) -> list[int | str | None]:
    """The declared sizes of the picture as (N, C, H, W)."""
    sizes = _open(shape)
    return [sizes[i] for i in _TO_FIRST] if has_channels_last(sizes) else sizes


def _open(shape: ir.Shape | None) -> list[int | str | None]:
    """Sizes; the name, or None, where one is open."""
    dims = shape.dims if shape is not None else ()
    return [(d if d > 0 else None) if isinstance(d, int) else d.value for d in dims]


def _unread_value(port: Port, sizes: Mapping[str, int]) -> ir.Value:
    """An input that nothing reads, as it was declared."""
    known = [sizes.get(s, s) if isinstance(s, str) else s for s in _open(port.shape)]
    shape = None if port.shape is None else ir.Shape(known)
    return ir.Value(name=port.name, type=port.type, shape=shape)


def _restored_input(
    graph: ir.Graph, core: ir.Value, port: Port, *, channels_last: bool
) -> ir.Value:
    """Make an input of the loaded model from that of the file, which is returned."""
    dtype = port.dtype or core.dtype or ir.DataType.FLOAT
    if not channels_last and dtype is core.dtype:
        return core
    shape = core.shape
    if channels_last and shape is not None:
        shape = ir.Shape([shape[0], shape[2], shape[3], shape[1]])
    value = ir.Value(name=core.name, type=ir.TensorType(dtype), shape=shape)
    for index, output in enumerate(graph.outputs):
        if output is core:
            graph.outputs[index] = value
    nodes: list[ir.Node] = []
    made = value
    if channels_last:
        nodes.append(ir.node("Transpose", [made], {"perm": list(_TO_FIRST)}))
        made = nodes[-1].outputs[0]
        made.type, made.shape = value.type, core.shape
    if dtype is ir.DataType.UINT8:
        for node in _keeping_pixels(core):
            ir.convenience.replace_all_uses_with(node.outputs[0], made)
            graph.remove(node, safe=True)
    if dtype is not core.dtype and core.uses():
        nodes.append(ir.node("Cast", [made], {"to": int(core.dtype or ir.DataType.FLOAT)}))
        made = nodes[-1].outputs[0]
        made.type, made.shape = core.type, core.shape
    ir.convenience.replace_all_uses_with(core, made)
    name = Namer(graph)
    for node in nodes:
        node.name = name(f"{value.name}_{node.op_type.lower()}")
        node.outputs[0].name = name(f"{value.name}_{_RESULTS[node.op_type]}")
    graph.insert_before(graph[0], nodes)
    return value


def _keeping_pixels(core: ir.Value) -> list[ir.Node]:
    """QuantizeLinear nodes whose integers are the pixels: step 1, zero point 0, uint8."""
    found = []
    for node, _ in core.uses():
        if node.op_type != "QuantizeLinear" or node.domain != "":
            continue
        scale, zero = (constant(value) for value in (*node.inputs[1:], None)[:2])
        unsigned = zero is not None and zero.dtype == np.uint8 and not zero.any()
        if scale is not None and scale.size == 1 and scale.reshape(()) == 1 and unsigned:
            found.append(node)
    return [node for node in found if not node.outputs[0].is_graph_output()]


def _cast_output(graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> None:
    """Let an output have the type that the file declares."""
    name = Namer(graph)
    node = ir.node("Cast", [value], {"to": int(dtype)}, name=name(f"{value.name}_cast"))
    result = node.outputs[0]
    result.type, result.shape = ir.TensorType(dtype), value.shape
    graph.outputs[list(graph.outputs).index(value)] = result
    result.name, value.name = value.name, name(f"{value.name}_float")
    graph.append(node)
