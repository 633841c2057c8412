"""How much the outputs of a network move with each of its tensors: squared gradients, no labels.

For outputs z, scaled to unit deviation, and a tensor a, the expectation over random signs v of
(∂(vᵀz)/∂a)² is Σ (∂z/∂a)² (Hutchinson): the diagonal of the Gauss–Newton Hessian of |z|²/2. An
error δ of a, independent from value to value, costs E|δz|² = Σ E[δ²]·Σ (∂z/∂a)². These are the
label-free Hessian scores of Sony's Model Compression Toolkit (EPTQ), per value instead of per
layer, and the diagonal Fisher weights of Reg-PTQ (CVPR 2024) with the outputs in the place of the
loss. Where it is known how the outputs are read, what is found counts besides, as in its loss.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.analysis.topology import expectations, last_layers, weighted_layers
from passes.graph import values_by_name, with_outputs
from passes.operators import SAME_GRID, SQUASHING
from zqc.autodiff.engine import backward, refusals
from zqc.calibration.detection_sensitivity import detection_sensitivities
from zqc.calibration.histogram import BINS, Histogram, widen
from zqc.calibration.squared_gradients import Sensitivity, measured, random_signs, together
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.errors import InputShapeError, UnsupportedOperatorError
from zqc.pictures.model_input import input_name
from zqc.runtime import session

_GROUP = 32
"""Bins that share one mean squared gradient: a step of 8 bits."""

_PRIOR = 32
"""In a group of so many values its own mean counts as much as that of the whole tensor."""


def sensitivities(
    model: ir.Model,
    tensors: Sequence[str],
    batches: Sequence[NDArray[np.float32]],
    *,
    detector: DetectorLoss | None = None,
    seed: int,
    vectors: int = 2,
    threads: int | None = None,
) -> dict[str, Sensitivity]:
    """Measure how much the outputs depend on tensors, and on what the layers put out.

    The outputs are taken where the post-processing begins (`heads`); each counts the same, whatever
    its size: it is divided by its standard deviation and by the root of the number of its values.
    What enters an operator without a gradient is taken for an output, too: nothing is known of
    what it makes of errors.

    With a detector, the sensitivities are the mean of those of the outputs, of the boxes and of
    the classes that are found (``detection_sensitivities``), each of which loses as much where the
    error of every tensor is the same share of its variance: our choice, see docs/results/grids.md.

    Args:
        model: A float model with one input, BatchNormalization folded.
        tensors: Names of inputs or intermediate tensors.
        batches: Input tensors (N, C, H, W); each is run twice, with a detector three times. A few
            pictures are enough.
        detector: How the outputs are read, where that is known.
        seed: Of the random signs.
        vectors: Vectors of random signs per picture; one where detections have some as well.
        threads: Threads of ONNX Runtime.

    Returns:
        By name, for the tensors and the outputs of the weighted layers before the ends, those of
        unknown rank left out. Of an output of a layer that is none of the tensors, only the
        diagonal is known.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    source = input_name(model)
    last = [value.name or "" for value in heads(model.graph)]
    layers = [node.outputs[0].name or "" for node in weighted_layers(model.graph)]
    names = list(dict.fromkeys([*tensors, *layers]))
    try:
        graph, seeds, gradients = _differentiated(model, last, names)
    except (UnsupportedOperatorError, InputShapeError):
        obstacles, last, names = _around(model, last, names)
        if not last:
            return {}
        graph, seeds, gradients = _differentiated(model, last, names, obstacles)
    scales, shapes = _scales(model, source, last, batches, threads)
    computed = [name for name in tensors if name != source]
    found: tuple[dict[str, Sensitivity], ...] = ()
    if detector is not None:
        found = detection_sensitivities(
            model, tensors, list(gradients), batches, detector, seed=seed, threads=threads
        )
    runner = session.load(graph, outputs=[*computed, *gradients.values()], threads=threads)
    generator = np.random.default_rng(seed)
    feeds = (
        {source: batch}
        | {seeds[name]: random_signs(generator, shape[name]) * scales[name] for name in last}
        for batch, shape in zip(batches, shapes, strict=True)
        for _ in range(1 if found else vectors)
    )
    return together([measured(runner, source, tensors, gradients, feeds), *found])


def heads(graph: ir.Graph) -> list[ir.Value]:
    """Where the outputs of a network are looked at: before its post-processing, where it can be.

    That is behind the last layers and the operators that only move values; where a Sigmoid or a
    Softmax follows, behind it, as a score that is 0 in any case does not depend on its logit; and
    behind the expectation over softmaxed bins, where there is one.
    """
    ends = [*last_layers(graph), *expectations(graph)]
    starts = [node.outputs[0] for node in ends] or list(graph.outputs)
    found = list(dict.fromkeys(end for start in starts for end in _heads_of(start)))
    before: set[ir.Value] = set()
    for node in reversed(graph):
        if any(output in before or output in found for output in node.outputs):
            before.update(value for value in node.inputs if value is not None)
    return [end for end in found if end not in before]


def weighted(histogram: Histogram, sensitivity: Sensitivity) -> Histogram:
    """Weigh the values of a histogram by what an error of them costs.

    The histogram knows better how often each value occurs, as it has seen more pictures. A bin's
    weight is the mean squared gradient of the values near it, drawn to the mean of all where these
    are few. Without any gradient the histogram stays as it is.
    """
    total = float(sensitivity.squares.counts.sum())
    if total == 0:
        return histogram
    exponent = max(histogram.exponent, sensitivity.counts.exponent)
    squares, counts = (
        widen(h, exponent).counts.reshape(-1, _GROUP).sum(axis=1)
        for h in (sensitivity.squares, sensitivity.counts)
    )
    mean = total / float(sensitivity.counts.counts.sum())
    weights = (squares / mean + _PRIOR) / (counts + _PRIOR)
    wide = widen(histogram, exponent)
    return replace(wide, counts=wide.counts * np.repeat(weights, BINS // len(weights)))


def _heads_of(value: ir.Value) -> list[ir.Value]:
    if value.is_graph_output() or not value.uses():
        return [value]
    found: list[ir.Value] = []
    for use in value.uses():
        if use.node.domain == "" and use.node.op_type in SQUASHING:
            found.append(use.node.outputs[0])
        elif use.node.domain == "" and use.node.op_type in (SAME_GRID | {"Concat"}):
            found += [end for output in use.node.outputs for end in _heads_of(output)]
        else:
            found.append(value)
    return found


def _scales(
    model: ir.Model,
    source: str,
    names: Sequence[str],
    batches: Sequence[NDArray[np.float32]],
    threads: int | None,
) -> tuple[dict[str, float], list[dict[str, tuple[int, ...]]]]:
    """By what each output is multiplied, and the shapes of all for each batch."""
    runner = session.load(with_outputs(model, names), outputs=names, threads=threads)
    sums = {name: np.zeros(3) for name in names}
    shapes = []
    sizes: dict[str, int] = {}
    for batch in batches:
        outputs = runner({source: batch})
        for name, array in outputs.items():
            values = array.astype(np.float64)
            sums[name] += [values.size, values.sum(), np.sum(values**2)]
            sizes[name] = values.size // len(batch)
        shapes.append({name: array.shape for name, array in outputs.items()})
    scales = {}
    for name, (count, total, squares) in sums.items():
        variance = squares / count - (total / count) ** 2
        scales[name] = 0.0 if variance <= 0 else float((variance * sizes[name]) ** -0.5)
    return scales, shapes


def _around(
    model: ir.Model, last: Sequence[str], names: Sequence[str]
) -> tuple[set[str], list[str], list[str]]:
    """What has no gradient, by names of outputs, with the ends and tensors that this leaves."""
    copy = model.clone()
    values = values_by_name(copy.graph)
    wrt = [values[name] for name in names if values[name].shape is not None]
    ends = [values[name] for name in last if values[name].shape is not None]
    obstacles = refusals(copy, ends, wrt)
    entering = {
        value.name or ""
        for node in obstacles
        for value in node.inputs
        if value is not None and value.producer() is not None
        if value.shape is not None and value.dtype is ir.DataType.FLOAT
    }
    new = [name for name in values if name in entering]
    refused = {value.name or "" for node in obstacles for value in node.outputs}
    return (
        refused,
        list(dict.fromkeys([*(v.name or "" for v in ends), *new])),
        [value.name or "" for value in wrt],
    )


def _differentiated(
    model: ir.Model,
    last: Sequence[str],
    names: Sequence[str],
    obstacles: Collection[str] = (),
) -> tuple[ir.Model, dict[str, str], dict[str, str]]:
    """A model of the tensors and their gradients, and what the seeds and gradients are called."""
    copy = model.clone()
    graph = copy.graph
    values = values_by_name(graph)
    around = [node for node in graph if any(value.name in obstacles for value in node.outputs)]
    seeds = {}
    for name in last:
        value = values[name]
        seeds[value] = ir.Value(name=f"{name}_seed", shape=value.shape, type=value.type)
        graph.inputs.append(seeds[value])
    gradients = backward(copy, seeds, [values[name] for name in names], around=around)
    computed = [values[name] for name in names if not values[name].is_graph_input()]
    graph.outputs[:] = [*computed, *gradients]
    named = {name: v.name or "" for name, v in zip(names, gradients, strict=True)}
    return copy, {v.name or "": s.name or "" for v, s in seeds.items()}, named
