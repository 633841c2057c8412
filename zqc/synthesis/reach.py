"""Which layers of a model pictures can be matched to, and in batches of how many."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from zqc.autodiff.context import describe, unsupported
from zqc.autodiff.engine import refusals
from zqc.errors import UnsupportedOperatorError
from zqc.statistics.batch_size import own_batch, takes_any_batch
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.network import matched_part
from zqc.synthesis.loop import Schedule

logger = logging.getLogger(__name__)

_MOST_NAMES = 3
"""Obstacles that a message names."""


@dataclass(frozen=True)
class Reach:
    """What of a model a synthesis works with.

    Attributes:
        layers: The layers whose statistics can be matched.
        known: The number of layers whose statistics are known.
        obstacles: What stands before the others, operators and names of nodes; none where all are
            reached.
        batch: Pictures that the model has to be run with at once; None where any number will do.
        refusal: Why no layer can be matched, with what to do; empty where some are.
    """

    layers: tuple[LayerStatistics, ...]
    known: int
    obstacles: tuple[str, ...]
    batch: int | None
    refusal: str = ""

    def required(self) -> Reach:
        """The same, if any layer can be matched.

        Raises:
            UnsupportedOperatorError: None can.
        """
        if not self.layers:
            raise UnsupportedOperatorError(self.refusal)
        return self

    def schedule(self, asked: Schedule) -> Schedule:
        """The batches that are asked for, or those that the model takes, all of them full."""
        if self.batch is None:
            return asked
        samples = -(-asked.samples // self.batch) * self.batch
        return replace(asked, samples=samples, batch=self.batch)

    @property
    def shortfall(self) -> str:
        """In words, what is not matched and why; empty where everything is."""
        if len(self.layers) == self.known:
            return ""
        named = ", ".join(self.obstacles[:_MOST_NAMES])
        more = len(self.obstacles) - _MOST_NAMES
        named += f" and {more} more" if more > 0 else ""
        if not self.layers:
            missing = f"need the gradient of {named}" if named else "do not depend on the picture"
            return (
                f"pictures cannot be matched to any of the {self.known} normalised layers, "
                f"which {missing}"
            )
        missing = f"what needs the gradient of {named}" if named else "what no picture changes"
        matched = f"matched {len(self.layers)} of {self.known} normalised layers"
        return f"{matched}; not reached: {missing}"


def reach_of(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    picture: tuple[int, int, int],
    *,
    besides: Sequence[str] = (),
    threads: int | None = None,
) -> Reach:
    """Find the layers with a gradient, and how many pictures may be run at once.

    A layer counts where no node between it and the pictures is without a gradient. What is cut off
    is said in a warning, unless that is all of them: then the caller decides what to do.

    Args:
        model: The model.
        layers: Statistics of values in it; at least one.
        picture: Shape of one picture, (C, H, W).
        besides: Other values that the model is run for.
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: ONNX Runtime cannot run the part that is matched.
    """
    own = own_batch(model)
    part, found = matched_part(model, [layer.output for layer in layers], (own, *picture))
    source = part.graph.inputs[0]
    refused = refusals(part, list(found.values()), [source])
    beyond, first = _beyond(part.graph, refused)
    reasons = {node: refused[node] for node in first}
    depending = _depending(part.graph, source)
    matched = []
    for layer in layers:
        value = found[layer.output]
        if value in depending and value not in beyond and _has_channels(value, layer):
            matched.append(layer)
        elif value not in beyond:
            reasons |= _why_not(value, depending)
    for reason in refused.values():
        logger.debug("%s", reason)
    texts = tuple(dict.fromkeys(map(_named, reasons)))
    if not matched:
        why = next(iter(reasons.values()), "they do not depend on the picture; give --images")
        refusal = (
            f"pictures cannot be matched to any of the {len(layers)} normalised layers of the "
            f"model: {why}"
        )
        return Reach((), len(layers), texts, None, refusal)
    names = [*(layer.output for layer in matched), *besides]
    free = takes_any_batch(model, names, picture, threads=threads)
    reach = Reach(tuple(matched), len(layers), texts, None if free else own)
    if len(matched) < len(layers):
        logger.warning("%s", reach.shortfall)
    return reach


def _beyond(graph: ir.Graph, refused: dict[ir.Node, str]) -> tuple[set[ir.Value], list[ir.Node]]:
    """The values that need a refused node, and the first of these nodes on each way."""
    values: set[ir.Value] = set()
    first = []
    for node in graph:
        behind = any(value in values for value in node.inputs)
        if node in refused and not behind:
            first.append(node)
        if behind or node in refused:
            values.update(node.outputs)
    return values, first


def _depending(graph: ir.Graph, source: ir.Value) -> set[ir.Value]:
    """The values that change gradually with the pictures: integers and comparisons do not."""
    values = {source}
    for node in graph:
        if any(value in values for value in node.inputs):
            values.update(y for y in node.outputs if y.dtype is None or y.dtype.is_floating_point())
    return values


def _why_not(value: ir.Value, depending: set[ir.Value]) -> dict[ir.Node, str]:
    """What a value that every gradient reaches in vain is computed by, with reasons.

    Either its size is unknown, or it stops to change gradually at some nodes before it.
    """
    producer = value.producer()
    if value in depending and producer is not None:
        return {producer: str(unsupported(producer, "the size of its output is unknown"))}
    queue, seen = [producer], set()
    found = {}
    while queue:
        node = queue.pop(0)
        if node is None or node in seen:
            continue
        seen.add(node)
        if any(x in depending for x in node.inputs):
            found[node] = str(unsupported(node, "its output changes in steps alone"))
        else:
            queue += [x.producer() for x in node.inputs if x is not None]
    return found


def _has_channels(value: ir.Value, layer: LayerStatistics) -> bool:
    """Whether a value has a known size, and as many channels as the statistics."""
    shape = value.shape
    if shape is None or not shape.is_static() or len(shape) < 2:
        return False
    return shape[1] == len(layer.mean)


def _named(node: ir.Node) -> str:
    """Operator and name, without the names of outputs."""
    return describe(node).split(" (output", 1)[0]
