"""Every layer alone, every layer spared, and layer after layer: what is evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from passes.analysis.log_affine import LEVEL_BITS, code_bits_behind
from passes.analysis.topology import weighted_layers
from passes.arithmetic import FLOAT_BITS, Grid
from passes.graph import constant, name_of
from passes.layers import by_weight
from passes.qdq import dequantized_constant
from zqc.calibration.calibrate import Ranges
from zqc.calibration.histogram import BINS, Histogram
from zqc.diagnosis.regions import own_tensors, tensors_until
from zqc.diagnosis.results import ValueHistogram
from zqc.diagnosis.variants import Form, Quantizable, Variant, rounded_parameters
from zqc.quantization.candidates import Candidate
from zqc.quantization.prepare import points_of
from zqc.quantization.quantize import bits_by_layer, quantize
from zqc.recipe.plan import Plan

_BARS = 40
_MOST_BITS = 8


@dataclass(frozen=True)
class Subject:
    """A quantized model, taken apart into its layers.

    Attributes:
        quantizable: What variants are made of.
        layers: The layers with rounded weights, in graph order.
        bits: Bits of their weights by name.
        spared: Bits that would spare them, by name: 8, or 32 for float.
        together: By name, the layers that read the same weight, the layer itself included.
        kept: By name, the quantized tensors that are left when the layer stays float.
    """

    quantizable: Quantizable
    layers: tuple[ir.Node, ...]
    bits: Mapping[str, int]
    spared: Mapping[str, int]
    together: Mapping[str, tuple[str, ...]]
    kept: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, candidate: Candidate, quantized: ir.Model, plan: Plan) -> Subject:
        """Take a model apart.

        Args:
            candidate: The float model that was quantized, calibrated, with second moments.
            quantized: The canonical quantized model.
            plan: How it was quantized.
        """
        model, ranges = candidate.model, candidate.ranges
        asked = rounded_parameters(quantized)
        bits = bits_by_layer(model, plan.recipe, plan.bits_of)
        most = plan.recipe.reduced(_MOST_BITS)
        layers = tuple(node for node in weighted_layers(model.graph) if node.name in asked)
        names = [node.name or "" for node in layers]
        spared = {name: most if bits[name] < most else FLOAT_BITS for name in names}
        wide = {name: most for name in names if spared[name] == most}
        more = quantize(model, ranges, plan, means=candidate.means, bits_of=wide) if wide else None
        rounded = {} if more is None else rounded_parameters(more)
        groups = [tuple(layer.node.name or "" for layer in g) for g in by_weight(layers)]
        return cls(
            Quantizable(
                ir.to_proto(model).SerializeToString(deterministic=True),
                ranges.grids,
                plan.target.constants,
                {"asked": asked, "spared": {name: rounded[name] for name in wide}},
            ),
            layers,
            {name: bits[name] for name in names},
            spared,
            {name: group for group in groups for name in group},
            {name: _kept(model, plan, ranges, [name]) for name in names},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(node.name or "" for node in self.layers)

    def everything(self) -> Variant:
        """All layers quantized."""
        return Variant("everything", dict.fromkeys(self.names, "asked"), self._grids())

    def alone(self) -> list[Variant]:
        """One layer each: its weights, its input and its output."""
        return [
            Variant(f"alone {node.name}", {node.name or "": "asked"}, self._own(node))
            for node in self.layers
        ]

    def alone_spared(self) -> list[Variant]:
        """The same with what is left of the rounding when the layer is spared."""
        found = []
        for node in self.layers:
            name = node.name or ""
            tensors, form = self._own(node), self._form(name)
            if form is None:
                tensors &= self.kept[name]
            found.append(Variant(f"alone spared {name}", {name: form} if form else {}, tensors))
        return found

    def cumulative(self) -> list[Variant]:
        """Each layer and all before it."""
        graph = self.layers[0].graph
        assert isinstance(graph, ir.Graph)  # a layer stands in a graph
        grids = self.quantizable.grids
        return [
            Variant(
                f"until {node.name}",
                dict.fromkeys(self.names[: index + 1], "asked"),
                tensors_until(graph, node, grids),
            )
            for index, node in enumerate(self.layers)
        ]

    def restored(
        self, spared: Sequence[str], model: ir.Model, ranges: Ranges, plan: Plan
    ) -> Variant:
        """All layers quantized but some, which are spared together with who reads their weights."""
        group = {name for each in spared for name in self.together[each]}
        forms = {name: self._form(name) if name in group else "asked" for name in self.names}
        floats = [name for name, form in forms.items() if form is None]
        tensors = _kept(model, plan, ranges, floats) if floats else self._grids()
        layers: dict[str, Form] = {name: form for name, form in forms.items() if form is not None}
        return Variant(f"without {' '.join(spared)}", layers, tensors)

    def _form(self, name: str) -> Form | None:
        return None if self.spared[name] == FLOAT_BITS else "spared"

    def _own(self, node: ir.Node) -> frozenset[str]:
        return frozenset(own_tensors(node, self.quantizable.grids))

    def _grids(self) -> frozenset[str]:
        return frozenset(self.quantizable.grids)


def weight_exponents(quantized: ir.Model) -> dict[str, tuple[int, int]]:
    """Smallest and largest exponent of the thresholds of each layer's weights, by its name.

    Of a grid that is no power of two, the next larger one counts.
    """
    found = {}
    for node in weighted_layers(quantized.graph):
        producer = node.inputs[1].producer() if node.inputs[1] is not None else None
        if producer is None or dequantized_constant(node.inputs[1]) is None:
            continue
        integers, steps = producer.inputs[0], constant(producer.inputs[1])
        if integers is None or integers.dtype is None or steps is None:
            continue
        on_levels = code_bits_behind(producer) is not None
        bits = LEVEL_BITS if on_levels else int(integers.dtype.bitwidth)
        exponents = np.ceil(np.log2(steps.astype(np.float64))) + bits - 1
        found[node.name or ""] = (int(exponents.min()), int(exponents.max()))
    return found


def clipped_share(histogram: Histogram, grid: Grid) -> float:
    """Share of the values that lie more than half a step outside a grid; NaN without values."""
    total = histogram.counts.sum()
    low, high = grid.bounds
    centres = histogram.centres
    outside = (centres < low - grid.scale / 2) | (centres > high + grid.scale / 2)
    return float(histogram.counts[outside].sum() / total) if total else float("nan")


def bars(histogram: Histogram, low: float, high: float) -> ValueHistogram:
    """A histogram of few bins over the values there are and the grid, from ``low`` to ``high``."""
    filled = np.flatnonzero(histogram.counts)
    edges = (np.arange(BINS + 1) - BINS / 2) * histogram.width
    least = min(low, float(edges[filled[0]])) if len(filled) else low
    most = max(high, float(edges[filled[-1] + 1])) if len(filled) else high
    counts, bounds = np.histogram(
        histogram.centres, bins=_BARS, range=(least, most), weights=histogram.counts
    )
    return ValueHistogram(
        tuple(map(float, bounds)), tuple(round(float(c)) for c in counts), low, high
    )


def output_tensor(node: ir.Node, grids: Mapping[str, Grid]) -> str | None:
    """Name of the last quantized tensor of a layer, if it has one behind it."""
    names = [name for name in own_tensors(node, grids) if name != name_of(node.inputs[0])]
    return names[-1] if names else None


def _kept(model: ir.Model, plan: Plan, ranges: Ranges, floats: Sequence[str]) -> frozenset[str]:
    """The tensors that are still quantized when some layers stay float."""
    points = points_of(model, plan.excluding({*plan.excluded, *floats}))
    return frozenset(name for point in points for name in point.names if name in ranges.grids)
