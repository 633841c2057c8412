"""What bits cost: bytes of the file and milliseconds of a run, from a few measured models."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import weighted_layers
from passes.arithmetic import FLOAT_BITS
from passes.graph import constant
from zqc import targets
from zqc.allocation import Costs
from zqc.runtime import session
from zqc.runtime.kernel_times import KernelTime, plain_name
from zqc.runtime.latency import median_latencies

_HALF_OR_WHOLE_BYTE = {2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8, FLOAT_BITS: 32}

_WHOLE_BYTE = {bits: max(8, stored) for bits, stored in _HALF_OR_WHOLE_BYTE.items()}


def stored_bits(target: str) -> Mapping[int, int]:
    """Return the bits that a weight occupies in the file, by its own bits."""
    found = targets.find(target)
    in_types = _HALF_OR_WHOLE_BYTE if found.int4 else _WHOLE_BYTE
    return in_types | {bits: bits for bits in found.packed}


def useful_widths(target: str, widths: Sequence[int] = range(2, 9)) -> tuple[int, ...]:
    """Leave out bits that occupy as much in the file as more bits do."""
    most = {stored_bits(target)[bits]: bits for bits in sorted(widths)}
    return tuple(sorted(most.values()))


def storages(target: str, widths: Mapping[str, Collection[int]]) -> dict[int, dict[str, int]]:
    """Return what has to be written to know what bits cost: bits of every layer, by storage.

    For each number of bits that some layer may be stored in, all layers that may are; the others
    are in the most bits, float not counted, that they may be.

    Args:
        target: What decides on how integers are stored.
        widths: By name of the layer, the bits that it may have, 32 for float.
    """
    stored = {n: {stored_bits(target)[bits] for bits in each} for n, each in widths.items()}
    usual = {n: max(each - {FLOAT_BITS}, default=FLOAT_BITS) for n, each in stored.items()}
    return {
        bits: {n: bits if bits in each else usual[n] for n, each in stored.items()}
        for bits in set().union(*stored.values())
    }


def size_costs(
    model: ir.Model,
    widths: Mapping[str, Collection[int]],
    measured: Mapping[int, int],
    target: str,
) -> Costs:
    """Predict the size of the file from the sizes of a few.

    A layer takes its weights' bytes and an overhead (nodes, names, scales) that is what the
    measured sizes leave unexplained, shared equally: exact for what was measured, to a few bytes a
    layer in between, and to what unpacks weights of widths that no type has.

    Args:
        model: The float model that is quantized.
        widths: By name of the layer, the bits that it may have, 32 for float.
        measured: Sizes in bytes of ``storages``.
        target: What decides on how integers are stored.
    """
    weights = {name: weight.size for name, weight in _weights(model).items() if name in widths}
    built = storages(target, widths)
    payload = {
        bits: sum(_bytes(count, built[bits][name]) for name, count in weights.items())
        for bits in measured
    }
    most = max(measured.keys() - {FLOAT_BITS}, default=FLOAT_BITS)
    fixed = measured[most] - payload[most]
    extra = {}
    for bits, size in measured.items():
        changed = sum(built[bits][name] != built[most][name] for name in weights)
        extra[bits] = (size - payload[bits] - fixed) / max(changed, 1)
    stored = stored_bits(target)
    return Costs(
        fixed=float(fixed),
        of={
            name: {
                bits: _bytes(count, stored[bits])
                + (extra[stored[bits]] if stored[bits] != built[most][name] else 0.0)
                for bits in widths[name]
            }
            for name, count in weights.items()
        },
    )


def _bytes(count: int, bits: int) -> int:
    return -(-count * bits // 8)


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
    runners = [session.load(each, threads=1) for each in models]
    before, integer, floating = median_latencies(runners, feeds)
    nodes = [node for node in weighted_layers(model.graph) if node.name in layers]
    profiles = [_by_layer(nodes, session.profile(each, feeds, threads=1)) for each in models[1:]]
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


def _by_layer(nodes: Sequence[ir.Node], kernels: Sequence[KernelTime]) -> dict[str, float]:
    """Milliseconds of each layer; 0 of one that is not found."""
    names: dict[str, float] = {}
    for kernel in kernels:
        plain = plain_name(kernel.name)
        names[plain] = names.get(plain, 0.0) + kernel.seconds * 1e3
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
