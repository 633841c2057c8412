"""What bits cost: bytes of the file and milliseconds of a run, from a few measured models."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import constant
from passes.topology import weighted_layers
from zqc import runtime
from zqc.mixed_precision.allocation import Costs
from zqc.mixed_precision.losses import FLOAT_BITS
from zqc.recipe import TARGETS, Target
from zqc.report.latency import median_latencies

_HALF_OR_WHOLE_BYTE = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8, FLOAT_BITS: 32}

STORED_BITS: Mapping[Target, Mapping[int, int]] = MappingProxyType(
    dict.fromkeys(TARGETS, _HALF_OR_WHOLE_BYTE)
)
"""Bits that a weight occupies in the file, by target and by its own bits."""

_ADDED_NAME = re.compile(r"(_nchwc|_token_\d+)*$")
"""What ONNX Runtime's changes of memory layout append to the name of a node or of its output."""


def useful_widths(target: Target, widths: Sequence[int] = range(2, 9)) -> tuple[int, ...]:
    """Leave out bits that occupy as much in the file as more bits do."""
    most = {STORED_BITS[target][bits]: bits for bits in sorted(widths)}
    return tuple(sorted(most.values()))


def size_costs(
    model: ir.Model,
    layers: Sequence[str],
    measured: Mapping[int, int],
    target: Target,
) -> Costs:
    """Predict the size of the file from its sizes with the same bits in all layers.

    A layer takes its weights' bytes and an overhead (nodes, names, scales) that is what the
    measured sizes leave unexplained, shared equally: exact where all layers have the same bits, and
    to a few bytes a layer where not.

    Args:
        model: The float model that is quantized.
        layers: Names of the layers that have a choice.
        measured: Size in bytes with all of them at 4, 8 or 32 (float) bits; others are not offered.
        target: What decides on how integers are stored.
    """
    weights = {name: weight.size for name, weight in _weights(model).items() if name in layers}
    payload = {bits: sum(-(-n * bits // 8) for n in weights.values()) for bits in measured}
    extra = {bits: (size - payload[bits]) / max(len(weights), 1) for bits, size in measured.items()}
    base = min(extra.values())
    stored = {b: s for b, s in STORED_BITS[target].items() if s in measured}
    return Costs(
        fixed=base * len(weights) if weights else float(min(measured.values())),
        of={
            name: {b: -(-n * s // 8) + extra[s] - base for b, s in stored.items()}
            for name, n in weights.items()
        },
    )


def latency_costs(
    model: ir.Model,
    layers: Sequence[str],
    models: tuple[ir.Model, bytes, bytes],
    feeds: Mapping[str, NDArray[np.generic]],
    bits: Sequence[int],
) -> tuple[float, Costs]:
    """Predict the latency from profiles with no layer in float and with all of them in float.

    Bits make no difference on integer kernels. A layer in float adds what its kernel takes more,
    and its share of what the conversions around the float layers take: all that the profiled
    kernels leave unexplained, by the number of values that go in and out.

    Args:
        model: The float model that is quantized, with shapes.
        layers: Names of the layers that have a choice.
        models: The float model as it came; quantized, with integer weights in all layers; the same
            with float weights in all layers.
        feeds: One input.
        bits: Bits of layers that are not float.

    Returns:
        Milliseconds of the float model on one thread, and the costs.
    """
    runners = [runtime.load(each, threads=1) for each in models]
    before, integer, floating = median_latencies(runners, feeds)
    nodes = [node for node in weighted_layers(model.graph) if node.name in layers]
    profiles = [_by_layer(nodes, runtime.profile(each, feeds, threads=1)) for each in models[1:]]
    difference = {name: floats - profiles[0][name] for name, floats in profiles[1].items()}
    rest = (floating - integer) - sum(difference.values())
    values = {node.name or "": _values(node) for node in nodes}
    share = rest / max(sum(values.values()), 1)
    return before, Costs(
        fixed=integer,
        of={
            name: dict.fromkeys(bits, 0.0) | {FLOAT_BITS: more + share * values[name]}
            for name, more in difference.items()
        },
    )


def _by_layer(nodes: Sequence[ir.Node], seconds: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds of each layer; 0 of one that is not found."""
    names: dict[str, float] = {}
    for name, value in seconds.items():
        plain = _ADDED_NAME.sub("", name)
        names[plain] = names.get(plain, 0.0) + value * 1e3
    return {
        node.name or "": names.get(node.name or "", names.get(node.outputs[0].name or "", 0.0))
        for node in nodes
    }


def _weights(model: ir.Model) -> dict[str, NDArray[np.generic]]:
    found = {node.name or "": constant(node.inputs[1]) for node in weighted_layers(model.graph)}
    return {name: weight for name, weight in found.items() if weight is not None}


def _values(node: ir.Node) -> int:
    """Values that go in and out of a layer; 1 where the shapes leave more open than the batch."""
    total = 0
    for value in (node.inputs[0], node.outputs[0]):
        shape = value.shape if value is not None else None
        sides = [side for side in shape or () if isinstance(side, int)]
        total += math.prod(sides) if sides else 1
    return total
