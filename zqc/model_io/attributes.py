"""Whether the attributes of a node are those of its operator, with values that it can have."""

from __future__ import annotations

import math
from functools import cache

import onnx
from onnx import AttributeProto, helper

from zqc.errors import DAMAGED, ModelError

_LARGEST = 2**31 - 1
"""ONNX Runtime computes sizes in 32 bits in places."""

_WINDOWS = ("kernel_shape", "strides", "dilations")
_SLIDING = frozenset(
    {
        *("Conv", "ConvInteger", "ConvTranspose", "DeformConv", "QLinearConv"),
        *("AveragePool", "LpPool", "MaxPool", "MaxUnpool"),
    }
)
_LEAST = {
    **dict.fromkeys((*_WINDOWS, "group", "offset_group", "blocksize", "num_outputs"), 1),
    "output_padding": 0,
}
"""The smallest value of an attribute, whatever operator has it."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"),
}


def check_node(node: onnx.NodeProto, what: str, opset: int) -> None:
    """Refuse inputs, outputs and attributes that the operator of a node does not have.

    Of operators that onnx has no schema of nothing is known, and nothing refused.

    Args:
        node: It.
        what: What messages call it.
        opset: The version of its domain.

    Raises:
        ModelError: Says what is wrong.
    """
    schema = _schema(node.op_type, opset, "" if node.domain == "ai.onnx" else node.domain)
    names = [attribute.name for attribute in node.attribute]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"{what} has the attribute {name!r} twice; {DAMAGED}")
    if schema is not None:
        _check_numbers_of(node, what, schema)
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            continue
        if schema is not None:
            _check_type(attribute, what, schema)
        _check_value(attribute, what)
    if node.op_type in _SLIDING and node.domain in ("", "ai.onnx"):
        _check_window(node, what)


@cache
def _schema(kind: str, opset: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(kind, opset, domain)
    except (onnx.defs.SchemaError, TypeError):
        return None


def _check_numbers_of(node: onnx.NodeProto, what: str, schema: onnx.defs.OpSchema) -> None:
    """Refuse too few or too many inputs and outputs, and attributes that are not there."""
    for found, least, most, name in (
        (len(node.input), schema.min_input, schema.max_input, "inputs"),
        (len(node.output), schema.min_output, schema.max_output, "outputs"),
    ):
        if not least <= found <= most:
            asked = str(least) if least == most else f"{least} to {most}"
            asked = f"at least {least}" if most > 1000 else asked
            raise ModelError(f"{what} has {found} {name}, but takes {asked}; {DAMAGED}")
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    for name, formal in zip(node.input, schema.inputs, strict=False):
        # Resize had two inputs of which one was always empty before they became optional.
        left_out = node.op_type == "Resize" and formal.name in ("roi", "scales")
        if not name and formal.option == single and not left_out:
            raise ModelError(f"{what} lacks its input {formal.name!r}; {DAMAGED}")
    given = {attribute.name for attribute in node.attribute}
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            raise ModelError(f"{what} lacks the attribute {name!r}; {DAMAGED}")


def _check_type(attribute: AttributeProto, what: str, schema: onnx.defs.OpSchema) -> None:
    known = schema.attributes.get(attribute.name)
    if known is None:
        raise ModelError(
            f"{what} has the attribute {attribute.name!r}, which {schema.name} of opset "
            f"{schema.since_version} does not have; {DAMAGED}"
        )
    expected = int(known.type.value)  # type: ignore[attr-defined]  # an enum, not an int
    if attribute.type != expected:
        types = AttributeProto.AttributeType
        found = types.Name(attribute.type) if attribute.type in types.values() else attribute.type
        raise ModelError(
            f"the {attribute.name} of {what} has the type {found}, but must be "
            f"{types.Name(expected)}; {DAMAGED}"
        )


def _check_value(attribute: AttributeProto, what: str) -> None:
    """Refuse numbers that no attribute of this name can have, and NaN in any."""
    types, name = AttributeProto.AttributeType, attribute.name
    if attribute.type in (types.FLOAT, types.FLOATS):
        values = [attribute.f] if attribute.type == types.FLOAT else attribute.floats
        if any(map(math.isnan, values)):
            raise ModelError(f"the {name} of {what} is NaN; {DAMAGED}")
    elif attribute.type in (types.INT, types.INTS) and name in _LEAST:
        numbers = [attribute.i] if attribute.type == types.INT else list(attribute.ints)
        if not all(_LEAST[name] <= number <= _LARGEST for number in numbers):
            shown = numbers[0] if attribute.type == types.INT else _listed(numbers)
            raise ModelError(
                f"{what} has the {name} {shown}, which must be {_LEAST[name]} at least and "
                f"below 2^31; {DAMAGED}"
            )
    elif attribute.type == types.STRING and name in _CHOICES:
        text = attribute.s.decode(errors="replace")
        if text and text not in _CHOICES[name]:
            raise ModelError(
                f"the {name} of {what} is {text[:40]!r}, but must be one of "
                f"{', '.join(_CHOICES[name])}; {DAMAGED}"
            )


def _check_window(node: onnx.NodeProto, what: str) -> None:
    """Refuse a window whose sizes do not have as many dimensions, or pads of less than nothing."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    lengths: dict[str, float] = {name: len(values[name]) for name in _WINDOWS if name in values}
    if values.get("pads"):
        lengths["pads"] = len(values["pads"]) / 2
        if not all(0 <= number <= _LARGEST for number in values["pads"]):
            raise ModelError(
                f"{what} has the pads {_listed(values['pads'])}, which must be 0 at least and "
                f"below 2^31; {DAMAGED}"
            )
    if len(set(lengths.values())) > 1:
        raise ModelError(
            f"{', '.join(lengths)} of {what} are for different numbers of dimensions; {DAMAGED}"
        )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"[{shown}, …]" if len(numbers) > 8 else f"[{shown}]"
