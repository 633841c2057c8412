"""The lowest operator set in which a model says the same: what most runtimes can read.

An operator may go down from version to version as long as

1. the older version exists, knows the operator's attributes (or the newer default is what they
   say: then they are left out), takes as many inputs and gives as many outputs,
2. it takes and gives their types, and
3. it means the same, see ``_CHANGED``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

from zqc.errors import OptionError
from zqc.model_io import upgrade
from zqc.runtime import versions

logger = logging.getLogger(__name__)

_LOWEST = 13  # the first with QuantizeLinear and DequantizeLinear per channel


def _always(_node: ir.Node) -> bool:
    return True


def _says(name: str, *values: object) -> Callable[[ir.Node], bool]:
    """Whether an attribute has one of some values."""
    return lambda node: name in node.attributes and _plain(node.attributes[name]) in values


_CHANGED: Mapping[tuple[str, int], Callable[[ir.Node], bool]] = MappingProxyType(
    {
        ("Attention", 24): _always,
        ("AveragePool", 19): _says("ceil_mode", 1),
        ("BatchNormalization", 14): _says("training_mode", 1),
        ("DFT", 20): _always,
        ("GridSample", 20): _always,
        ("GroupNormalization", 21): _always,
        ("LpPool", 18): _always,
        ("Pad", 19): _says("mode", "wrap"),
        ("Resize", 19): _says("coordinate_transformation_mode", "half_pixel_symmetric"),
        ("RoiAlign", 16): _always,
        ("ScatterElements", 18): _says("reduction", "max", "min"),
        ("ScatterND", 18): _says("reduction", "max", "min"),
    }
)
"""By operator and version: whether a node means something else, or nothing, in the version before.

Everything else that changed since opset 13 is a list of types, a new attribute whose default is
what was there before, or an attribute that became an input, which the schemas show.
"""

NEWEST_REVIEWED = 28
"""The newest opset whose changes ``_CHANGED`` knows."""


@dataclass(frozen=True)
class Lowest:
    """The lowest operator set of a model.

    Attributes:
        version: Its version.
        reason: The operator that cannot go further down, and why; empty where none need.
    """

    version: int
    reason: str


def find(model: ir.Model) -> Lowest:
    """Return the lowest version of the default operator set in which a model says the same.

    Args:
        model: A model at opset 13 or later; types of its values are inferred.
    """
    declared = model.opset_imports[""]
    if declared > NEWEST_REVIEWED:
        logger.debug("the model stays at opset %d: what is new in it is not known here", declared)
    if not _LOWEST < declared <= NEWEST_REVIEWED:
        return Lowest(declared, "")
    types = _types(upgrade.infer_shapes(ir.to_proto(model)))
    lowest = Lowest(_LOWEST, "")
    for node in _nodes(model):
        for version in range(declared, lowest.version, -1):
            obstacle = _obstacle(node, version, types)
            if obstacle:
                name = node.name or node.outputs[0].name
                lowest = Lowest(version, f"{node.op_type} {name} {obstacle}")
                break
    return lowest


def check_runtime(model: ir.Model, version: str) -> None:
    """Refuse a model that a version of ONNX Runtime cannot read.

    Raises:
        OptionError: The message names the operator and the oldest version that reads it.
    """
    lowest, newest = find(model), versions.newest_opset(version)
    if lowest.version <= newest:
        return
    able = versions.oldest_that_reads(lowest.version)
    remedy = f"say --min-runtime {able}" if able else "leave --min-runtime out"
    raise OptionError(f"onnxruntime {version} reads opset {newest}, but {lowest.reason}; {remedy}")


def lowered(model: ir.Model) -> ir.Model:
    """Return the model in its lowest operator set; one that has it already is returned."""
    before, after = model.opset_imports[""], find(model).version
    if before == after:
        return model
    model = model.clone()
    model.opset_imports[""] = after
    for node in _nodes(model):
        known = _schema(node, after).attributes
        for name in [name for name in node.attributes if name not in known]:
            del node.attributes[name]
    return model


def _obstacle(node: ir.Node, version: int, types: Mapping[str, set[str]]) -> str:
    """Why a node cannot go from one version to the one before; empty where it can.

    Args:
        node: The node.
        version: The version that it would leave.
        types: See ``_types``.
    """
    try:
        older = _schema(node, version - 1)
    except onnx.defs.SchemaError:
        return f"is there since opset {version}"
    newer = _schema(node, version)
    if older.since_version == newer.since_version:
        return ""
    changed = _CHANGED.get((node.op_type, newer.since_version))
    if older.deprecated or (changed is not None and changed(node)):
        return f"has its meaning since opset {version}"
    for name, attribute in node.attributes.items():
        if name not in older.attributes and not _is_default(attribute, newer.attributes[name]):
            return f"has {name} since opset {version}"
    inputs, outputs = (_stripped(values) for values in (node.inputs, node.outputs))
    fits = older.min_input <= len(inputs) <= older.max_input and len(outputs) <= older.max_output
    if not fits:
        return f"has its inputs since opset {version}"
    formal = ((inputs, older.inputs, newer.inputs), (outputs, older.outputs, newer.outputs))
    for values, olds, news in formal:
        for index, value in enumerate(values):
            old, new = (known[min(index, len(known) - 1)].types for known in (olds, news))
            # All that the newer one takes, where it is not known what it gets.
            if value is not None and not types.get(value.name or "", new) <= old:
                return f"has the types of its operands since opset {version}"
    return ""


def _types(model: onnx.ModelProto) -> dict[str, set[str]]:
    """The types of tensors by name, as schemas write them.

    A name may stand for several tensors: one in each of two subgraphs that don't see each other.
    """
    types: dict[str, set[str]] = {}
    for graph in upgrade.graphs(model.graph):
        found = [(each.name, each.data_type) for each in graph.initializer]
        for each in (*graph.input, *graph.output, *graph.value_info):
            found.append((each.name, each.type.tensor_type.elem_type))
        for name, kind in found:
            if kind:
                types.setdefault(name, set()).add(f"tensor({ir.DataType(kind).name.lower()})")
    return types


def _is_default(attribute: ir.Attr, schema: OpSchema.Attribute) -> bool:
    default = schema.default_value
    if not default.type or attribute.is_ref():
        return False
    said: bool = _plain(attribute) == _plain(ir.serde.deserialize_attribute(default))
    return said


def _plain(attribute: ir.Attr) -> Any:
    return attribute.value


def _stripped(values: Sequence[ir.Value | None]) -> list[ir.Value | None]:
    """The operands without optional ones that are missing at the end."""
    found = list(values)
    while found and (found[-1] is None or not found[-1].name):
        found.pop()
    return found


def _schema(node: ir.Node, version: int) -> OpSchema:
    return onnx.defs.get_schema(node.op_type, version, "")


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    """The nodes of the default operator set, those of subgraphs too."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.domain == "":
            yield node
