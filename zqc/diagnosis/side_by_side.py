"""Both models run on the same pictures, and what their layers put out is compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import last_layers
from passes.graph import Namer, add_initializer, name_of
from zqc.calibration.histogram import Histogram, add, empty
from zqc.diagnosis.counterparts import Match
from zqc.diagnosis.inner_tensors import Samples, exposing
from zqc.diagnosis.quantized_model import QuantizedModel, Rounding
from zqc.diagnosis.regions import bounds_of
from zqc.diagnosis.transplant import Placed
from zqc.pictures.model_input import input_name
from zqc.progress import Task
from zqc.runtime import session

Feeds = Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.generic]]]


@dataclass
class Sums:
    """Signal and noise of one layer, and the values of one tensor.

    Attributes:
        local: Squares of the layer's output and of its error, both fed alike.
        cumulative: Squares of the output in the float model, and of the difference.
        outside: Values that the grid cuts off, and all values.
        histogram: Of the values that are rounded.
    """

    local: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    cumulative: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    outside: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    histogram: Histogram = field(default_factory=empty)

    @property
    def local_db(self) -> float:
        """SQNR of the layer alone."""
        return decibels(*self.local)

    @property
    def cumulative_db(self) -> float:
        """SQNR of the layer with all before it."""
        return decibels(*self.cumulative)

    @property
    def clipped(self) -> float:
        """Share of the values that are cut off."""
        return float(self.outside[0] / self.outside[1]) if self.outside[1] else math.nan


@dataclass(frozen=True)
class Observed:
    """What running both models showed.

    Attributes:
        sums: By name of the layer.
        samples: Values of the float model's tensors by name, some of them.
        expected: Outputs of the float model, batch by batch.
        got: Outputs of the quantized one.
        heads: What the last layers of the quantized model put out, by the names of the float
            model's tensors and in its units, batch by batch.
    """

    sums: Mapping[str, Sums]
    samples: Mapping[str, NDArray[np.float32]]
    expected: Sequence[Mapping[str, NDArray[np.generic]]]
    got: Sequence[Mapping[str, NDArray[np.generic]]]
    heads: Sequence[Mapping[str, NDArray[np.float32]]]


def observe(
    model: ir.Model,
    quantized: QuantizedModel,
    found: Sequence[Match],
    places: Mapping[str, Sequence[Placed]],
    batches: Sequence[NDArray[np.float32]],
    *,
    feeds: Feeds,
    task: Task,
    threads: int | None = None,
) -> Observed:
    """Run both models as they are written.

    Args:
        model: The float model.
        quantized: The quantized model.
        found: Its layers.
        places: Roundings of each layer in the float model, by its name.
        batches: Input tensors (N, C, H, W).
        feeds: Makes the inputs of the quantized model from one.
        task: Advanced by the number of pictures.
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    fed, twins = _fed_alike(quantized.model, found)
    source = input_name(model)
    ours = [name_of(match.layer.node.outputs[0]) for match in found]
    tensors = {*ours, *(each.tensor for of in places.values() for each in of)} - {source}
    theirs = [name_of(match.quantized.node.outputs[0]) for match in found]
    seen = [_last(match.quantized.outputs) for match in found]
    sources = [rounding.source for rounding in seen if rounding is not None]
    outputs = [name_of(value) for value in model.graph.outputs]
    left = session.load(exposing(model, sorted(tensors)), threads=threads, optimize=False)
    right = session.load(
        exposing(fed, [*theirs, *twins.values(), *sources]), threads=threads, optimize=False
    )
    cut = {match.layer.node.name or "": bounds_of(match.layer.node) for match in found}
    sums = {match.layer.node.name or "": Sums() for match in found}
    samples = Samples((*tensors, source))
    last = {node.name for node in last_layers(model.graph)}
    expected, got, heads = [], [], []
    for batch in batches:
        x, y = dict(left({source: batch})), right(feeds(batch))
        x[source] = batch
        ends: dict[str, NDArray[np.float32]] = {}
        for match, rounding, ours_name, theirs_name in zip(found, seen, ours, theirs, strict=True):
            name = match.layer.node.name or ""
            output = match.output(y[theirs_name])
            reference = x[ours_name]
            if name in last:
                ends[ours_name] = output.astype(np.float32)
            if reference.shape == output.shape:
                sums[name].cumulative += _signal_and_noise(reference, output)
            if name in twins:
                exact = match.exact_output(y[twins[name]])
                sums[name].local += _signal_and_noise(exact, output)
            if rounding is not None:
                _look_at(sums[name], rounding, y[rounding.source], cut[name])
        samples.add(x)
        expected.append({name: x[name] for name in outputs})
        got.append({name: y[name] for name in outputs if name in y})
        heads.append(ends)
        task.advance(steps=len(batch))
    return Observed(sums, samples.of_all(), expected, got, heads)


def decibels(signal: float, noise: float) -> float:
    """10·log₁₀(signal / noise); NaN where nothing was compared."""
    if noise == 0:
        return math.inf if signal > 0 else math.nan
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _last(roundings: Sequence[Rounding]) -> Rounding | None:
    return max(roundings, key=lambda each: len(each.path), default=None)


def _look_at(
    sums: Sums, rounding: Rounding, values: NDArray[np.generic], bounds: tuple[float, float]
) -> None:
    array = np.clip(np.asarray(values, np.float32), *bounds)
    low, high = rounding.bounds
    step = float(rounding.step_back.max())
    outside = int(((array < low - step / 2) | (array > high + step / 2)).sum())
    sums.outside += (outside, array.size)
    if np.isfinite(array).all():
        sums.histogram = add(sums.histogram, array)


def _signal_and_noise(
    reference: NDArray[np.generic], output: NDArray[np.float64]
) -> NDArray[np.float64]:
    exact = reference.astype(np.float64)
    return np.array([np.square(exact).sum(), np.square(exact - output).sum()])


def _fed_alike(model: ir.Model, found: Sequence[Match]) -> tuple[ir.Model, dict[str, str]]:
    """A copy with each float layer beside its counterpart, and what it puts out, by its name."""
    copy = model.clone()
    name = Namer(copy.graph)
    nodes = {node.name: node for node in copy.graph}
    twins = {}
    for match in found:
        node = nodes[match.quantized.node.name]
        layer = match.layer
        weight, bias, shape = layer.weight, layer.bias, match.quantized.weight.shape
        if match.columns is not None:
            weight = match.columns.grouped(weight, shape[-1])
            bias = None if bias is None else np.tile(bias, match.columns.outputs)
        if weight.shape != shape or layer.node.op_type != node.op_type:
            continue
        constants = [("weight", weight), *([] if bias is None else [("bias", bias)])]
        inputs = [
            add_initializer(copy.graph, name(f"{node.name}_{what}"), np.asarray(a, np.float32))
            for what, a in constants
        ]
        twin = ir.node(
            node.op_type,
            [node.inputs[0], *inputs],
            attributes=dict(node.attributes),
            name=name(f"{node.name}_float"),
        )
        twin.outputs[0].name = twin.name
        twin.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        copy.graph.insert_after(node, twin)
        twins[layer.node.name or ""] = twin.name or ""
    return copy, twins
