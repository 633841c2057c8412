"""What is minimised, and one step of it as one ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from passes.graph import remove_unused
from zqc.autodiff.emitter import Emitter, float_input
from zqc.autodiff.engine import backward, gradient
from zqc.autodiff.optimizer import adam_step
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import TERMS, Terms
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.network import matched_part
from zqc.synthesis import loss
from zqc.synthesis.augmentation import Smoothing, Windows
from zqc.synthesis.heads import Head, heads
from zqc.synthesis.matching import Targets
from zqc.synthesis.nodes import number, scaled, typed

STATE = ("pictures", "first_moment", "second_moment")
"""What one step hands to the next: canvases of pixels and Adam's moments of them."""

MOMENTS = ("means", "seconds")
"""What a batch contributes to the pooled E[x] and E[x²] of all channels, each (K,)."""

PREDICTIONS = ("boxes", "scores")
"""What a detector says of the finished pictures, see ``DetectorLoss.assigned``."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The terms of the loss and what is done to the pictures before they are measured.

    Attributes:
        terms: Which BatchNorm statistics are matched.
        deviation_weight: Weight of the standard deviations against the means (DGH: 1 or 10).
        stretch: Weight α of the range of the raw outputs, which is to be large; 0 leaves it out.
        held: Whether the range counts less while the layer before the output is implausible.
        total_variation: Weight of the squared differences between neighbouring pixels.
        margin: By how many pixels a canvas is higher and wider than the input.
        flip: Whether pictures are mirrored at random.
        smooth: Whether pictures are smoothed.
        tie_channels: Whether all channels of a picture are the same one.
        detection: Weight of the detector's own loss against the labels of each picture; 0 without.
    """

    terms: Terms = "both"
    deviation_weight: float = 1.0
    stretch: float = 0.0
    held: bool = False
    total_variation: float = 0.0
    margin: int = 0
    flip: bool = True
    smooth: bool = True
    tie_channels: bool = False
    detection: float = 0.0

    def __post_init__(self) -> None:
        if self.terms not in TERMS:
            raise OptionError(f"unknown BatchNorm terms {self.terms!r}; known: {', '.join(TERMS)}")

    def canvas(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """The shape of the canvases of inputs of shape (N, C, H, W)."""
        count, channels, height, width = shape
        channels = 1 if self.tie_channels else channels
        return count, channels, height + self.margin, width + self.margin


def slope_scale(pictures: int, picture: Sequence[int]) -> float:
    """What slopes are multiplied with, so that their size hardly depends on that of the set."""
    return float(pictures * np.prod(picture))


def state_shapes(canvas: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """The shapes of ``STATE`` for canvases (N, C, H, W).

    A picture has one second moment, not one a pixel (Adam-mini, arXiv 2406.16793): a set takes a
    third less memory, and converges as well.
    """
    return canvas, canvas, (canvas[0], *(1 for _ in canvas[1:]))


def step_model(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    *,
    shape: tuple[int, int, int, int],
    pictures: int,
    input_format: InputFormat,
    objective: Objective,
    detector: DetectorLoss | None = None,
) -> ir.Model:
    """Build the graph of one step on a batch of pictures.

    Pixels live in [0, 1], where every input convention looks the same to the optimiser. Each step
    smooths the canvases, cuts a window out of each and maps it to the model's input. Means and
    second moments are pooled over the whole set (DGH, arXiv 2410.22110): this batch contributes
    its own, differentiably, all others come in as constants. Per layer with C channels, with M
    and S the pooled mean and standard deviation and u the layer's unit,

        L = (1/C) Σ_c [ ((M_c − mean_c) / u_c)² + w · ((S_c − deviation_c) / u_c)² ],

    and the loss is the mean over the layers, less α times the mean range of the raw outputs. That
    of a detector is added as a mean over the pictures.

    Args:
        model: A model; it is not changed.
        layers: Statistics of values in it, K channels together.
        shape: Shape of a batch at the model's input, (N, C, H, W).
        pictures: Number of pictures in the whole set.
        input_format: How [0, 1] becomes the model's input.
        objective: Terms and weights.
        detector: The loss that a weight of the objective is for; None without one.

    Returns:
        A model with the inputs of ``STATE``; ``other_`` + each of ``MOMENTS``, what the rest of the
        set contributes; the places of the windows (``augmentation.places``); and the scalars
        ``step_size``, ``second_correction`` and ``floor`` (``adam_step``); and what the loss of
        the detector needs. Its outputs are
        ``new_`` + each of ``STATE``, each of ``MOMENTS``, and ``loss``.

    Raises:
        UnsupportedOperatorError: An operator between the input and a matched value has no gradient
            rule.
    """
    names = [layer.output for layer in layers]
    raw = heads(model, names) if objective.stretch else ()
    outputs = () if detector is None else detector.outputs
    part, found = matched_part(model, [*names, *(head.output for head in raw), *outputs], shape)
    graph, tape = part.graph, Tape(part.graph)
    targets = Targets.of(layers, objective.terms, objective.deviation_weight)
    canvas = objective.canvas(shape)
    state = [
        float_input(name, size) for name, size in zip(STATE, state_shapes(canvas), strict=True)
    ]
    others = [float_input(f"other_{name}", (sum(targets.sizes),)) for name in MOMENTS]
    numbers = [float_input(name, ()) for name in ("step_size", "second_correction", "floor")]
    view = View.of(tape, shape, objective)
    seen = view.forward(tape, state[0])
    _feed(part, _mapped(tape, seen, input_format, shape))
    goals = {} if detector is None else detector.inputs(shape[0])
    graph.inputs[:] = [*state, *others, *view.windows.inputs.values(), *numbers, *goals.values()]

    scale = number(tape, "slope_scale", slope_scale(pictures, shape[1:]))
    values = [found[name] for name in names]
    sums = loss.sums(tape, values)
    moments = loss.contributions(tape, values, sums, batch=shape[0], pictures=pictures)
    total = loss.pooled(tape, moments, others, targets)
    seeds = loss.entering(tape, values, gradient(part, scaled(tape, total, scale), sums))
    if raw:
        spread = _stretch(tape, raw, found, values, targets, objective)
        spread = scaled(tape, spread, number(tape, "per_picture", 1 / pictures))
        seeds[scaled(tape, spread, scale)] = number(tape, "one", 1.0)
        total = typed(tape.op("Add", [total, spread]), ())
    around: list[ir.Node] = []
    if detector is not None:
        emitter = Emitter(graph)
        task, around = detector.loss(emitter, detector.read(emitter, _named(found, outputs)), goals)
        task = scaled(tape, task, number(tape, "detection", objective.detection / pictures))
        seeds[scaled(tape, task, scale)] = number(tape, "one", 1.0)
        total = typed(tape.op("Add", [total, task]), ())
    slope = view.backward(tape, backward(part, seeds, [seen], around=around)[0])
    if objective.total_variation:
        weight = number(tape, "variation_weight", objective.total_variation / pictures)
        rough = scaled(tape, loss.variation(tape, state[0]), weight)
        slope = tape.op("Add", [slope, *gradient(part, scaled(tape, rough, scale), state[:1])])
        total = typed(tape.op("Add", [total, rough]), ())
    stepped = adam_step(part, state[0], typed(slope, canvas), *state[1:], *numbers)
    clipped = _clipped(tape, stepped[0], canvas)
    new = zip((f"new_{name}" for name in STATE), (clipped, *stepped[1:]), strict=True)
    _set_outputs(part, {**dict(new), **dict(zip(MOMENTS, moments, strict=True)), "loss": total})
    return part


def measure_model(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    *,
    shape: tuple[int, int, int, int],
    pictures: int,
    input_format: InputFormat,
    objective: Objective,
    detector: DetectorLoss | None = None,
) -> ir.Model:
    """Build the graph from canvases to finished pictures and what they contribute.

    A finished picture is smoothed and the middle of its canvas; the windows are inputs here too.

    Args:
        model: A model; it is not changed.
        layers: Statistics of values in it.
        shape: Shape of a batch at the model's input, (N, C, H, W).
        pictures: Number of pictures in the whole set.
        input_format: How [0, 1] becomes the model's input.
        objective: What is done to the pictures.
        detector: What finds objects in them; None without one.

    Returns:
        A model with the inputs ``pictures`` and the places of the windows, and the outputs
        ``tensors`` (N, C, H, W), each of ``MOMENTS`` and, with a detector, of ``PREDICTIONS``.
    """
    names = [layer.output for layer in layers]
    outputs = () if detector is None else detector.outputs
    part, found = matched_part(model, [*names, *outputs], shape)
    tape = Tape(part.graph)
    canvas = float_input(STATE[0], objective.canvas(shape))
    view = View.of(tape, shape, objective)
    tensors = _mapped(tape, view.forward(tape, canvas), input_format, shape)
    _feed(part, tensors)
    part.graph.inputs[:] = [canvas, *view.windows.inputs.values()]
    values = [found[name] for name in names]
    moments = loss.contributions(
        tape, values, loss.sums(tape, values), batch=shape[0], pictures=pictures
    )
    predictions: dict[str, ir.Value] = {}
    if detector is not None:
        emitter = Emitter(part.graph)
        said = detector.read(emitter, _named(found, outputs))
        predictions = dict(zip(PREDICTIONS, (said.boxes, said.scores(emitter)), strict=True))
    contributed = dict(zip(MOMENTS, moments, strict=True))
    _set_outputs(part, {"tensors": tensors, **contributed, **predictions})
    return part


@dataclass(frozen=True)
class View:
    """What of a canvas is shown to the model: smoothed, a window of it, within the valid range.

    Attributes:
        windows: The windows.
        smoothing: None when pictures are not smoothed.
        shape: Shape of the windows, (N, C, H, W).
    """

    windows: Windows
    smoothing: Smoothing | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tape: Tape, shape: tuple[int, int, int, int], objective: Objective) -> View:
        """Register the constants for inputs of shape (N, C, H, W)."""
        canvas = objective.canvas(shape)
        smoothing = Smoothing.of(tape, canvas) if objective.smooth else None
        return cls(Windows.of(tape, shape[0]), smoothing, (*canvas[:2], *shape[2:]))

    def forward(self, tape: Tape, canvas: ir.Value) -> ir.Value:
        """Show canvases."""
        smooth = self.smoothing.forward(tape, canvas) if self.smoothing else canvas
        return _clipped(tape, self.windows.forward(tape, smooth), self.shape)

    def backward(self, tape: Tape, slope: ir.Value) -> ir.Value:
        """Bring the slope of what is seen to the canvas; the clip lets it through."""
        placed = self.windows.backward(tape, slope)
        return self.smoothing.backward(tape, placed) if self.smoothing else placed


def _stretch(
    tape: Tape,
    raw: Sequence[Head],
    found: dict[str, ir.Value],
    values: Sequence[ir.Value],
    targets: Targets,
    objective: Objective,
) -> ir.Value:
    """The weighted range of the raw outputs, summed over the batch."""
    outputs = [found[head.output] for head in raw]
    last = sorted({head.last for head in raw if head.last is not None}) if objective.held else []
    held = [(values[i], targets.places[i]) for i in last]
    weight = number(tape, "stretch_weight", objective.stretch)
    return scaled(tape, loss.stretch(tape, outputs, held, targets), weight)


def _feed(part: ir.Model, tensor: ir.Value) -> None:
    """Let the network read the tensor instead of its input."""
    ir.convenience.replace_all_uses_with(part.graph.inputs[0], tensor)
    part.graph.outputs.clear()
    part.graph.sort()


def _clipped(tape: Tape, pixels: ir.Value, shape: Sequence[int]) -> ir.Value:
    """The nearest pixels that exist."""
    bounds = [number(tape, "black", 0.0), number(tape, "white", 1.0)]
    return typed(tape.op("Clip", [pixels, *bounds]), shape)


def _mapped(
    tape: Tape, pictures: ir.Value, input_format: InputFormat, shape: tuple[int, int, int, int]
) -> ir.Value:
    """Map [0, 1] to the model's input, (N, C, H, W); a tied channel becomes all C of them."""
    low, high = input_format.bounds(shape[1])
    stretched = tape.op("Mul", [pictures, number(tape, "pixel_factor", high - low)])
    return typed(tape.op("Add", [stretched, number(tape, "pixel_offset", low)]), shape)


def _set_outputs(part: ir.Model, outputs: dict[str, ir.Value]) -> None:
    for name, value in outputs.items():
        value.name = name
    part.graph.outputs[:] = outputs.values()
    remove_unused(part)


def _named(found: dict[str, ir.Value], names: Sequence[str]) -> dict[str, ir.Value]:
    return {name: found[name] for name in names}
