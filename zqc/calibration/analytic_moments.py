"""Means, second moments and ranges of tensors from BatchNorm statistics: no picture at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from passes.graph import constant
from zqc.calibration.channel_moments import ChannelMoments, Floats, propagated
from zqc.calibration.elementwise import Function, function_of

if TYPE_CHECKING:
    from zqc.statistics.batchnorm import LayerStatistics

_WIDTH = 6.0
"""Values further from the mean than this many deviations are 2·10⁻⁹ of a normal variable's."""

_NODES = np.linspace(-_WIDTH, _WIDTH, 401)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
"""The trapezoidal rule, which is exact to rounding for smooth functions of a normal variable.

At the kink of a ReLU its error is below 10⁻⁴ of the deviation, far less than the assumption's.
"""


_BINARY: dict[str, Callable[[Floats, Floats], Floats]] = {
    "Add": np.add,
    "Div": np.divide,
    "Mul": np.multiply,
    "Sub": np.subtract,
}


@dataclass(frozen=True)
class _Source:
    """A function of one normal variable per channel: mean and deviation, shape (C,)."""

    variable: ir.Value
    mean: Floats
    deviation: Floats
    function: Function


def analytic_moments(
    model: ir.Model, layers: Sequence[LayerStatistics], *, deviations: float = 3.0
) -> dict[str, ChannelMoments]:
    """Derive the moments of the tensors of a prepared model from its BatchNorm statistics.

    The output of a BatchNormalization is taken as normal, N(β, γ²) per channel, as the running
    statistics say (as DFQ, arXiv 1906.04721, does). From there on:

    1. Activation functions, in any spelling: a chain of elementwise operators that starts at one
       tensor is a function of one normal variable. So is x·Sigmoid(x). Integrated numerically.
    2. Sums, products, layers without BatchNormalization and whatever moves channels: see
       ``propagated``. An activation function behind them takes them as normal, too.
    3. Unknown and absent: MaxPool, Pad, and everything that is computed from an unknown tensor, up
       to the next BatchNormalization.

    Args:
        model: A model whose BatchNormalizations are folded into layers that took over the names of
            their outputs, with shapes; not yet equalised.
        layers: The statistics; those of tensors that the model lacks are ignored.
        deviations: How many deviations count for ``ChannelMoments.channel_range``.

    Returns:
        By name of the tensor.
    """
    stored = {layer.output: layer for layer in layers}
    known: dict[ir.Value, ChannelMoments] = {}
    sources: dict[ir.Value, _Source] = {}
    for node in model.graph:
        first = node.outputs[0] if node.outputs else None
        layer = stored.get(first.name or "") if first is not None else None
        source = None
        if first is not None and layer is not None:
            source = _Source(first, layer.mean, layer.deviation, _same)
        elif node.domain == "":
            source = _composed(node, sources)
        if first is not None and source is not None:
            sources[first], known[first] = source, _integrated(source, deviations)
            continue
        inputs = [None if value is None else known.get(value) for value in node.inputs]
        outputs = propagated(node, inputs, deviations=deviations) if node.domain == "" else None
        for value, moments in zip(node.outputs, outputs or (), strict=False):
            known[value] = moments
            sources[value] = _Source(value, moments.mean, np.sqrt(moments.variance), _same)
    return {value.name: moments for value, moments in known.items() if value.name is not None}


def _same(x: Floats) -> Floats:
    return x


def _composed(node: ir.Node, sources: Mapping[ir.Value, _Source]) -> _Source | None:
    """The output as a function of the same variable as its inputs, None if there are several."""
    computed = [value for value in node.inputs if value is not None and constant(value) is None]
    inputs = [sources.get(value) for value in computed]
    known = [source for source in inputs if source is not None]
    if not known or len(known) != len(inputs) or len({s.variable for s in known}) != 1:
        return None
    functions = [source.function for source in known]
    if len(functions) == 2 and node.op_type in _BINARY:
        left, right = functions
        operation = _BINARY[node.op_type]
        return replace(known[0], function=lambda x: operation(left(x), right(x)))
    outer, inner = function_of(node), functions[0]
    if outer is None or len(functions) != 1:
        return None
    return replace(known[0], function=lambda x: outer(inner(x)))


def _integrated(source: _Source, deviations: float) -> ChannelMoments:
    """Expectations over the normal variable."""
    values = _values(source, _NODES)
    mean = values @ _WEIGHTS
    variance = (values - mean[:, None]) ** 2 @ _WEIGHTS
    within = _values(source, np.linspace(-deviations, deviations, 101))
    return ChannelMoments(mean, variance, np.abs(within).max(axis=1))


def _values(source: _Source, units: Floats) -> Floats:
    """Values of shape (C, K) at K places, in deviations of the normal variable."""
    return source.function(source.mean[:, None] + source.deviation[:, None] * units)
