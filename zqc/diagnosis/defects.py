"""Layers of a quantized model that compute something else than those of its float model.

That is no question of pictures: a scale that is off by a factor of 8 is a defect, even where the
detections in some pictures survive it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import name_of
from passes.operators import SQUASHING
from zqc.diagnosis.inner_tensors import Samples, exposing
from zqc.diagnosis.layer_pairs import LayerPairs, layer_pairs
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.reasons import finding
from zqc.pictures.model_input import input_name
from zqc.runtime import session

_BOUNDED = SQUASHING | {"Clip", "HardSwish", "Max", "Min"}


@dataclass(frozen=True)
class Defect:
    """A layer that is out of order.

    Attributes:
        layer: Its name.
        reason: What is wrong with it, in words.
    """

    layer: str
    reason: str


def defects(
    model: ir.Model,
    quantized: ir.Model,
    batches: Sequence[NDArray[np.float32]],
    *,
    feeds: Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.generic]]],
    name: str,
    threads: int | None = None,
) -> tuple[Defect, ...]:
    """Find the layers of which it is certain that no rounding made them what they are.

    The float model runs once; the quantized one not at all.

    Args:
        model: The prepared float model.
        quantized: The quantized model, as far as it can be run.
        batches: Input tensors (N, C, H, W); a few pictures are enough.
        feeds: Makes the inputs of the quantized model from one.
        name: What messages call it.
        threads: Threads of ONNX Runtime.

    Returns:
        In graph order.

    Raises:
        ModelError: The two have no layer in common.
        RuntimeFailure: ONNX Runtime failed.
    """
    pairs = layer_pairs(model, read(quantized, feeds(batches[0])), name)
    samples = _samples(pairs, batches, threads)
    layers, bounded = [match.layer for match in pairs.found], _bounded(model)
    found = []
    for match in pairs.found:
        node = match.layer.node
        places, output = pairs.places[node.name or ""], name_of(node.outputs[0])
        judged = [place for place in places if place.tensor not in bounded]
        odd = finding(match, judged, samples, output, layers)
        if odd.certain:
            found.append(Defect(node.name or "", odd.reasons[0]))
    return tuple(found)


def _bounded(model: ir.Model) -> set[str]:
    """Names of tensors that are read by what has bounds of its own, such as a hard Swish.

    Their grids rightly end where these bounds are, whatever the values.
    """
    found = set()
    for value in (*model.graph.inputs, *(out for node in model.graph for out in node.outputs)):
        readers = [use.node for use in value.uses()]
        readers += [
            use.node
            for node in readers
            if node.op_type in ("Add", "Mul", "Sub", "Div")
            for use in node.outputs[0].uses()
        ]
        if any(node.op_type in _BOUNDED for node in readers):
            found.add(name_of(value))
    return found


def _samples(
    pairs: LayerPairs, batches: Sequence[NDArray[np.float32]], threads: int | None
) -> dict[str, NDArray[np.float32]]:
    """Some values of each tensor of the float model that a layer puts out or is rounded at."""
    source = input_name(pairs.model)
    names = {name_of(match.layer.node.outputs[0]) for match in pairs.found}
    names |= {place.tensor for places in pairs.places.values() for place in places}
    computed = sorted(names - {source})
    model = exposing(pairs.model, computed)
    runner = session.load(model, outputs=computed, threads=threads, optimize=False)
    samples = Samples((*computed, source))
    for batch in batches:
        samples.add({**runner({source: batch}), source: batch})
    return samples.of_all()
