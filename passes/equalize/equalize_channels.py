"""The channels of a tensor are scaled to one range, and the layers behind it undo it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.bounds import upper_bound
from passes.analysis.channel_flow import Ids
from passes.analysis.coupled_channels import CoupledChannels, coupled_channels
from passes.equalize.inserted_scales import fill_scale, insert_scales, representable, scaled_tensor
from passes.graph import Namer, add_initializer, replace, spatial_ones
from passes.layers import by_weight, rescale

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass
class Equalization(ir.passes.PassResult):
    """What became of every channel.

    Attributes:
        factors: Factor of each channel, shape (C,), by name of the tensor that is now larger:
            whoever knows a mean, a deviation or a range of it multiplies by it.
        refused: By name of each layer whose output channels keep their scale: why.
    """

    factors: dict[str, Floats]
    refused: dict[str, str]


@dataclass(frozen=True)
class EqualizeChannels(ir.passes.InPlacePass):
    """Multiply channel c of a tensor by s_c > 0 and divide what reads it by s_c. Exact.

    One grid serves all channels of a tensor, so a channel that reaches only to m_c of its threshold
    t uses the fraction m_c/t of it. With s_c = t/m_c every channel uses all of it (HPTQ,
    arXiv 2109.09113: max-channel equalization):

        s_c = (t/m_c)^strength, at least 1 and at most ``limit``; 1 where m_c ≤ 0

    1. A Conv, ConvTranspose or Gemm before it: W and b of output channel c times s_c.
    2. Every Conv, ConvTranspose or Gemm behind it: W of input channel c divided by s_c.
    3. In between: what is positively homogeneous, through Concat, Split and additions of tensors
       too, see ``coupled_channels``. Channels that meet in an addition get the smallest of their
       factors, so that no tensor leaves its threshold.
    4. Clip(x, 0, h) becomes Relu(Min(x, h·s_c)). So that no grid has to cut off below the bound,
       every s_c is at least T/h, where T is the power of two next above t: see
       ``AbsorbedBounds``. Where T > h, such a tensor is refused with ``powers_of_two``, and as a
       whole where one of its channels is.
    5. SiLU, hard-swish, GELU and the like carry no factor. With ``insert`` it begins behind them,
       in Mul(y, s) with a constant per channel that lies exactly on an 8-bit power-of-two grid: the
       layers behind undo the same s when it is quantized. s_c is rounded down for that, below 32,
       see ``representable``; so a tensor as in 4 is refused as a whole where T > h.
    6. Declined, with the reason in ``Equalization.refused``: what ``coupled_channels`` holds
       (functions as in 5, outputs of the graph, computed weights, …), tensors of unknown range.

    Every other tensor keeps its value, also the outputs of the layers behind: so one pair does not
    change the range of another, and the order of chains of depthwise layers does not matter.

    Attributes:
        channel_ranges: m, shape (C,), by name of the tensor; of those that will be quantized, in
            general behind the activation function: the largest value over calibration pictures, or
            μ + 3σ of BatchNorm statistics.
        thresholds: t by name; the largest m_c for all others.
        strength: 1 is the paper's rule, 0 changes nothing.
        limit: Largest factor. The weights behind lose precision where factors differ widely.
        powers_of_two: Whether factors are rounded down to powers of two: then only exponents
            change, and the outputs are the same to the last bit.
        insert: Whether products may be inserted, as in 5. Each is one more operator to run.
    """

    channel_ranges: Mapping[str, Floats]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    strength: float = 1.0
    limit: float = 1024.0
    powers_of_two: bool = False
    insert: bool = False

    def call(self, model: ir.Model) -> Equalization:
        """Scale every channel that may be scaled.

        Raises:
            ValueError: A range belongs to no tensor of the graph or has another number of channels.
        """
        graph = model.graph
        name = Namer(graph)
        inserted = insert_scales(graph, name) if self.insert else ()
        coupled = coupled_channels(graph, set(inserted))
        factors, reasons = self._factors(graph, coupled, inserted)
        refused = _refusals(coupled, reasons, inserted)
        scaled = {
            value: factors[ids] for value, ids in coupled.ids.items() if np.any(factors[ids] != 1)
        }
        for layers in by_weight(coupled.layers):
            before, after = layers[0].node.inputs[0], layers[0].node.outputs[0]
            source = scaled.get(before) if before is not None else None
            rescale(layers, source, scaled.get(after), name)
        for node in list(graph):
            factor = scaled.get(node.outputs[0]) if node.outputs else None
            bound = upper_bound(node)
            if factor is not None and bound is not None:
                _split_clip(graph, node, bound, factor, name)
        for node in inserted:
            fill_scale(graph, node, scaled.get(node.outputs[0]), name)
        named = {value.name: factor for value, factor in scaled.items() if value.name is not None}
        return Equalization(model, bool(scaled), named, refused)

    def _factors(
        self, graph: ir.Graph, coupled: CoupledChannels, inserted: Sequence[ir.Node]
    ) -> tuple[Floats, dict[int, str]]:
        """Factor of every number of ``coupled``, and why those that must stay 1 do."""
        count = 1 + max((int(ids.max(initial=0)) for ids in coupled.ids.values()), default=0)
        ratio, least = np.full(count, np.inf), np.ones(count)
        reasons, seen = dict(coupled.reasons), np.zeros(count, bool)
        bounded: list[Ids] = []
        begins = np.zeros(count, bool)
        for node in inserted:
            begins[coupled.ids[node.outputs[0]]] = True
        followed = {scaled_tensor(node): node.outputs[0] for node in inserted}
        for value, channel_range in _by_value(graph, self.channel_ranges).items():
            ids = coupled.ids.get(followed.get(value, value))
            if ids is None:
                continue
            if len(ids) != len(channel_range):
                raise ValueError(
                    f"tensor {value.name!r} has {len(ids)} channels, its range {len(channel_range)}"
                )
            seen[ids] = True
            threshold = self.thresholds.get(
                value.name or "", float(np.max(channel_range, initial=0.0))
            )
            if threshold <= 0:
                continue
            alive = channel_range > 0
            np.minimum.at(ratio, ids[alive], threshold / channel_range[alive])
            producer = value.producer()
            bound = upper_bound(producer) if producer is not None else None
            power = 2.0 ** np.ceil(np.log2(threshold))
            if bound is not None and power > bound:
                np.maximum.at(least, ids, power / bound)
                bounded.append(ids)
        for number in np.flatnonzero(~seen):
            reasons.setdefault(int(number), "its range is not known")
        _hold_together(bounded, reasons, rounded=begins | self.powers_of_two)
        ratio[np.isinf(ratio)] = 1.0
        factors = np.clip(ratio**self.strength, least, np.maximum(least, self.limit))
        factors[begins] = representable(factors[begins], self.limit)
        if self.powers_of_two:
            factors = 2.0 ** np.floor(np.log2(factors))
        factors[list(reasons)] = 1.0
        return factors, reasons


def _hold_together(
    bounded: list[Ids], reasons: dict[int, str], *, rounded: NDArray[np.bool_]
) -> None:
    """Add the channels of every tensor whose bound would stay below its threshold somewhere."""
    text = "the power of two above its range is above its bound"
    waiting = list(bounded)
    while held := [
        ids for ids in waiting if rounded[ids].any() or any(int(n) in reasons for n in ids)
    ]:
        for ids in held:
            for number in ids:
                reasons.setdefault(int(number), text)
        waiting = [ids for ids in waiting if not any(int(n) in reasons for n in ids)]


def _by_value(graph: ir.Graph, channel_ranges: Mapping[str, Floats]) -> dict[ir.Value, Floats]:
    values = {v.name: v for v in graph.inputs}
    values.update({output.name: output for node in graph for output in node.outputs})
    missing = [name for name in channel_ranges if name not in values]
    if missing:
        raise ValueError(f"tensors with a range that the graph lacks: {', '.join(missing)}")
    return {values[name]: channel_range for name, channel_range in channel_ranges.items()}


def _refusals(
    coupled: CoupledChannels, reasons: Mapping[int, str], inserted: Sequence[ir.Node]
) -> dict[str, str]:
    told: dict[int, str | None] = dict(reasons)
    for node in inserted:
        function = scaled_tensor(node).producer()
        assert function is not None  # products are inserted behind nodes
        after = [reasons.get(int(n)) for n in coupled.ids[node.outputs[0]]]
        for value in function.inputs:
            numbers = coupled.ids.get(value) if value is not None else None
            if numbers is not None and len(numbers) == len(after):
                for number, reason in zip(map(int, numbers), after, strict=True):
                    both = f"{reasons.get(number, '')}, and behind it {reason}"
                    told[number] = both if reason is not None else None
    refused = {}
    for node in coupled.layers:
        numbers = coupled.ids[node.outputs[0]]
        found = [reason for n in map(int, numbers) if (reason := told.get(n)) is not None]
        if found:
            part = (
                "" if len(found) == len(numbers) else f"{len(found)} of {len(numbers)} channels: "
            )
            refused[node.name or ""] = part + found[0]
            logger.debug("%s keeps the scale of its output: %s", node.name, part + found[0])
    return refused


def _split_clip(graph: ir.Graph, node: ir.Node, bound: float, factor: Floats, name: Namer) -> None:
    """Replace Clip(x, 0, h) by Relu(Min(x, h·s)), or by Relu(x) where h is infinite."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    nodes = []
    if np.isfinite(bound):
        bounds = (bound * factor).astype(np.float32).reshape(-1, *spatial_ones(output))
        stored = add_initializer(graph, name(f"{output.name}_bounds"), bounds)
        nodes.append(ir.node("Min", [source, stored], name=name(f"{node.name}_Min")))
        source = nodes[0].outputs[0]
        source.name, source.type, source.shape = (
            name(f"{output.name}_min"),
            output.type,
            output.shape,
        )
    nodes.append(ir.node("Relu", [source], name=name(f"{node.name}_Relu")))
    graph.insert_before(node, nodes)
    replace(output, nodes[-1].outputs[0])
    graph.remove(node, safe=True)
