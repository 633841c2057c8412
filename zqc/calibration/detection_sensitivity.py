"""How much the detections of a network move with its tensors, and not its outputs as numbers.

Most outputs are background, and of a raw head with 85 channels 80 are classes. What is found is
measured by the quadratic form of ``zqc.detection.losses.agreement_loss`` around equal models, with
its weights: s the largest score of a candidate, T = max(1, Σ s) of a picture, p its class
probabilities, o its objectness (1 where there is none):

    boxes:   (1/T) Σ s · Σ (δ/size)², δ the error of a side, size the box's width or height;
    classes: (1/2T) Σ [ o · Σ_c p_c(1 − p_c)·δ_c² + o(1 − o)·δ_o² ], of the logits.

1 − CIoU has a kink where boxes are equal; the squared distance in its place is our choice. Where
classes compete, p_c(1 − p_c) is the diagonal of the divergence's Hessian.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.graph import name_of, values_by_name
from zqc.autodiff.emitter import Emitter, dims
from zqc.autodiff.engine import backward
from zqc.autodiff.shapes import are_static, fixed_copy, infer_shapes
from zqc.calibration.squared_gradients import Feeds, Sensitivity, measured, random_signs
from zqc.detection.losses.candidates import Candidates
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.detection.losses.writing import Pen
from zqc.errors import InputShapeError, UnsupportedOperatorError
from zqc.pictures.model_input import fixed_batch, input_name
from zqc.runtime import session

PARTS = (("boxes",), ("classes", "objectness"))
"""What counts together, each part as much as the other."""


def detection_sensitivities(
    model: ir.Model,
    tensors: Sequence[str],
    others: Sequence[str],
    batches: Sequence[NDArray[np.float32]],
    detector: DetectorLoss,
    *,
    seed: int,
    threads: int | None = None,
) -> tuple[dict[str, Sensitivity], ...]:
    """Measure how much boxes, and how much classes, depend on tensors.

    Args:
        model: A float model with one input, BatchNormalization folded.
        tensors: Names of inputs or intermediate tensors.
        others: Names of tensors of which only the diagonal is wanted.
        batches: Input tensors (N, C, H, W); each picture is run twice.
        detector: How the outputs are read.
        seed: Of the random signs, one vector for each part and picture.
        threads: Threads of ONNX Runtime.

    Returns:
        For each of ``PARTS``, by name. Nothing where candidates are picked by their values, where a
        size is unknown, or where an operator has no gradient.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    size, source = fixed_batch(model) or 1, input_name(model)
    copy = fixed_copy(model, size)
    names = list(dict.fromkeys([*tensors, *others]))
    if detector.picked or not are_static([*detector.outputs, *names], values_by_name(copy.graph)):
        return ()
    try:
        signs, gradients = _differentiated(copy, names, detector)
    except (UnsupportedOperatorError, InputShapeError):
        return ()
    computed = [name for name in tensors if name != source]
    runner = session.load(copy, outputs=[*computed, *gradients.values()], threads=threads)
    draw = _Draw(source, size, signs, np.random.default_rng(seed))
    return tuple(
        measured(runner, source, tensors, gradients, draw.feeds(batches, part)) for part in PARTS
    )


@dataclass(frozen=True)
class _Draw:
    """Feeds with random signs: their shapes by name of the input."""

    source: str
    size: int
    signs: Mapping[str, tuple[int, ...]]
    generator: np.random.Generator

    def feeds(self, batches: Sequence[NDArray[np.float32]], part: Sequence[str]) -> Iterator[Feeds]:
        """For every ``size`` pictures, signs for a part, zeros for all else."""
        drawn = {_signs_of(each) for each in part}
        for batch in batches:
            for start in range(0, len(batch), self.size):
                signs = {
                    name: random_signs(self.generator, shape)
                    if name in drawn
                    else np.zeros(shape, np.float32)
                    for name, shape in self.signs.items()
                }
                yield {self.source: batch[start : start + self.size], **signs}


def _signs_of(what: str) -> str:
    return f"signs_of_{what}"


def _differentiated(
    model: ir.Model, names: Sequence[str], detector: DetectorLoss
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Append gradients, in place: the shapes of the signs, and what the gradients are called."""
    graph = model.graph
    values = values_by_name(graph)
    emitter = Emitter(graph)
    found = detector.read(emitter, {name: values[name] for name in detector.outputs})
    weighed = _roots(emitter, found)
    graph.outputs[:] = [value for value, _ in weighed.values()]
    infer_shapes(model)
    seeds, shapes = {}, {}
    for what, (value, root) in weighed.items():
        sizes = tuple(dim for dim in dims(value) if isinstance(dim, int))
        signs = ir.Value(name=_signs_of(what), shape=value.shape, type=value.type)
        graph.inputs.append(signs)
        shapes[_signs_of(what)] = sizes
        seeds[value] = emitter.op("Mul", [signs, root], {}, f"{what}_seed")
    gradients = backward(model, seeds, [values[name] for name in names])
    graph.outputs[:] = [*(values[n] for n in names if not values[n].is_graph_input()), *gradients]
    return shapes, {n: name_of(v) for n, v in zip(names, gradients, strict=True)}


def _roots(emitter: Emitter, found: Candidates) -> dict[str, tuple[ir.Value, ir.Value]]:
    """What is looked at, and the root of what its squared error counts; of which nothing flows."""
    pen = Pen(emitter, "detections")
    score = emitter.largest(found.scores(emitter), [-1], "detections")
    share = pen("Max", pen.sum(score, [1], keep=True), 1.0)
    low, high = pen.part(found.boxes, 0, 2), pen.part(found.boxes, 2, 4)
    size = pen("Max", pen("Sub", high, low), 1.0)
    sizes = pen("Concat", size, size, axis=-1)
    roots = {
        "boxes": (found.boxes, pen("Div", pen("Sqrt", pen("Div", score, share)), sizes)),
    }
    there: ir.Value | float = 1.0
    if found.objectness is not None:
        there = pen("Sigmoid", found.objectness)
        roots["objectness"] = (found.objectness, _root(pen, there, 1.0, share))
    squashed = (
        pen("Sigmoid", found.logits)
        if found.background is None
        else pen("Softmax", found.logits, axis=-1)
    )
    roots["classes"] = (found.logits, _root(pen, squashed, there, share))
    return roots


def _root(pen: Pen, probability: ir.Value, weight: ir.Value | float, share: ir.Value) -> ir.Value:
    """√(weight · p(1 − p) / 2T)."""
    spread = pen("Mul", probability, pen("Sub", 1.0, probability))
    return pen("Sqrt", pen("Div", pen("Mul", spread, weight), pen("Mul", share, 2.0)))
