"""What quantization made of each layer: scales, size, and how much of its input is cut off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.log_affine import code_bits_behind
from passes.analysis.topology import weighted_layers
from passes.arithmetic import Grid
from passes.graph import constant, int_attribute, name_of, producer_of
from zqc.calibration.histogram import Histogram
from zqc.quantization.candidates import Candidate


@dataclass(frozen=True)
class InputRange:
    """The values that a layer reads, and what of them its grid holds.

    Attributes:
        histogram: Of all values over the calibration pictures.
        grid: The grid.
    """

    histogram: Histogram
    grid: Grid

    @property
    def clipped(self) -> float:
        """Share of the values that are more than half a step outside of the grid."""
        counts, centres = self.histogram.counts, self.histogram.centres
        low, high = self.grid.bounds
        half = self.grid.scale / 2
        total = float(counts.sum())
        outside = float(counts[(centres < low - half) | (centres > high + half)].sum())
        return outside / total if total else math.nan


@dataclass(frozen=True)
class LayerFacts:
    """One weighted layer.

    Attributes:
        name: Name of the node.
        weight_exponents: Lowest and highest k of the steps 2^k of its weights, over the channels;
            None where they are float, or no powers of two.
        input_exponent: k of the step of its input, likewise.
        clipped: Share of its input over the calibration pictures that its grid cuts off; NaN where
            the input has no grid.
        weight_bytes: Size of its weights, without scales.
        log_affine: Whether its weights are on levels that are closer near zero.
    """

    name: str
    weight_exponents: tuple[int, int] | None
    input_exponent: int | None
    clipped: float
    weight_bytes: int
    log_affine: bool = False


def input_ranges(candidate: Candidate) -> dict[str, InputRange]:
    """Return what is known of the inputs of the layers, by name of the layer, in graph order."""
    ranges = candidate.ranges
    found = {}
    for node in weighted_layers(candidate.model.graph):
        tensor = name_of(node.inputs[0])
        if tensor in ranges.grids and tensor in ranges.statistics.tensors:
            histogram = ranges.statistics.tensors[tensor].histogram
            found[node.name or ""] = InputRange(histogram, ranges.grids[tensor])
    return found


def layer_facts(quantized: ir.Model, ranges: Mapping[str, InputRange]) -> tuple[LayerFacts, ...]:
    """Return the facts of every layer, in graph order.

    Args:
        quantized: The canonical quantized model.
        ranges: See ``input_ranges``.
    """
    facts = []
    for node in weighted_layers(quantized.graph):
        name, steps = node.name or "", _exponents(node.inputs[0])
        size, log_affine = _bytes(node.inputs[1])
        facts.append(
            LayerFacts(
                name=name,
                weight_exponents=_exponents(node.inputs[1]),
                input_exponent=steps[0] if steps else None,
                clipped=ranges[name].clipped if name in ranges and steps else math.nan,
                weight_bytes=size,
                log_affine=log_affine,
            )
        )
    return tuple(facts)


def _exponents(value: ir.Value | None) -> tuple[int, int] | None:
    """Lowest and highest k of the scales 2^k that a tensor is dequantized with."""
    node = producer_of(value)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    scale = constant(node.inputs[1])
    if scale is None or scale.size == 0:
        return None
    mantissas, exponents = np.frexp(scale.astype(np.float64))
    if np.any(mantissas != 0.5):
        return None
    return int(exponents.min()) - 1, int(exponents.max()) - 1


def _bytes(value: ir.Value | None) -> tuple[int, bool]:
    """Size of a constant as it is stored, and whether as codes, behind its DequantizeLinear."""
    node = producer_of(value)
    if node is None or node.op_type != "DequantizeLinear":
        tensor = None if value is None else value.const_value
        return 0 if tensor is None else tensor.nbytes, False
    stored, integers = node.inputs[0], constant(node.inputs[0])
    if stored is None or stored.const_value is None or integers is None:
        return 0, False
    bits = code_bits_behind(node)
    if bits is not None:
        channels = integers.shape[int_attribute(node, "axis", 1) % integers.ndim]
        return integers.size * bits // 8 + channels, True
    return stored.const_value.nbytes, False
