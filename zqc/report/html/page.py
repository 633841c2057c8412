"""What a report says, whichever command it is of. Every part may be missing; then so is its place.

Numbers are NaN where they are unknown, and a column without a single number is not shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Word = Literal["good", "usable with care", "broken", "not judged"]
State = Literal["kept", "lost", "new", ""]
Point = tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """Whether the quantized model is still good.

    Attributes:
        word: The verdict.
        reason: Why, in one line.
        command: The one command that would help most; empty where there is nothing to do.
        advice: What that command would do, in one line.
        title: What is said in the place of the word, where something else was asked.
    """

    word: Word
    reason: str = ""
    command: str = ""
    advice: str = ""
    title: str = ""


@dataclass(frozen=True)
class Interval:
    """A difference that was measured, and how sure it is.

    Attributes:
        value: The difference.
        low: Lower end of its confidence interval.
        high: Upper end.
        unit: What the numbers are in, such as ``points``.
    """

    value: float
    low: float
    high: float
    unit: str = ""


@dataclass(frozen=True)
class Tile:
    """One number that matters.

    Attributes:
        label: What it is.
        value: How it is now, in words.
        before: How it was before; empty where there was nothing.
        note: What else is to be said of it.
        share: What of it is left or reached, in 0…1, drawn as a bar.
        interval: The difference with its interval, drawn below.
    """

    label: str
    value: str
    before: str = ""
    note: str = ""
    share: float = math.nan
    interval: Interval | None = None


@dataclass(frozen=True)
class Shape:
    """Something that was found in a picture, or that is labelled there.

    Attributes:
        box: (x1, y1, x2, y2) in pixels of the picture.
        name: Its class.
        score: In 0…1; NaN of labels.
        state: What became of it: found by both models, or by one alone.
        corners: (x, y) of the corners, of a box that is rotated.
        keypoints: (x, y), of poses.
        note: What else is to be said of it, such as ``IoU 0.93``.
    """

    box: tuple[float, float, float, float]
    name: str = ""
    score: float = math.nan
    state: State = ""
    corners: tuple[Point, ...] = ()
    keypoints: tuple[Point, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture, and what is in it.

    Attributes:
        name: File name.
        image: The picture as a data URI, see ``zqc.report.html.images``.
        width: Width in pixels, which boxes are in.
        height: Height likewise.
        float_shapes: What the float model finds.
        quantized_shapes: What the quantized model finds.
        label_shapes: What is labelled.
    """

    name: str
    image: str
    width: int
    height: int
    float_shapes: tuple[Shape, ...] = ()
    quantized_shapes: tuple[Shape, ...] = ()
    label_shapes: tuple[Shape, ...] = ()

    @property
    def kept(self) -> int:
        """How many boxes of the float model the quantized one has, too."""
        return sum(shape.state == "kept" for shape in self.float_shapes)

    @property
    def lost(self) -> int:
        """How many it has not."""
        return sum(shape.state == "lost" for shape in self.float_shapes)

    @property
    def new(self) -> int:
        """How many boxes the quantized model alone has."""
        return sum(shape.state == "new" for shape in self.quantized_shapes)


@dataclass(frozen=True)
class Pictures:
    """Pictures that are shown, worst first.

    Attributes:
        shown: The pictures.
        total: How many were compared.
        note: What was drawn, such as from which score on.
    """

    shown: tuple[Picture, ...]
    total: int
    note: str = ""


@dataclass(frozen=True)
class Matches:
    """How near the detections of the quantized model come to those of the float model.

    Attributes:
        kept: Boxes that both have.
        lost: Boxes of the float model alone.
        new: Boxes of the quantized model alone.
        mean_iou: Mean overlap of the kept ones.
        score_shift: Mean of quantized score minus float score of the kept ones.
        threshold: The threshold of scores in the float model.
        same_precision: The threshold with which the quantized model is as precise.
        scores: Float and quantized score of kept boxes; a missing one is NaN.
        note: How boxes were matched.
    """

    kept: int
    lost: int
    new: int
    mean_iou: float = math.nan
    score_shift: float = math.nan
    threshold: float = math.nan
    same_precision: float = math.nan
    scores: tuple[Point, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ClassRow:
    """One class.

    Attributes:
        name: Its name.
        labels: How many boxes of it are labelled, or were found by the float model.
        ap_float: Average precision of the float model, in 0…1.
        ap_quantized: The same of the quantized one; agreement where there are no labels.
        kept: Boxes that both models have.
        lost: Boxes of the float model alone.
        new: Boxes of the quantized model alone.
    """

    name: str
    labels: float = math.nan
    ap_float: float = math.nan
    ap_quantized: float = math.nan
    kept: float = math.nan
    lost: float = math.nan
    new: float = math.nan

    @property
    def difference(self) -> float:
        """Quantized minus float."""
        return self.ap_quantized - self.ap_float


@dataclass(frozen=True)
class PartRow:
    """One part of the outputs.

    Attributes:
        name: Its name.
        sqnr_db: Signal to quantization noise in dB.
        correlation: With the values of the float model.
        distinct: Distinct values.
        distinct_float: Distinct values in the float model.
        equal: Share of equal values, of what is no floating-point numbers.
        note: Why it was not compared, or what speaks against it.
    """

    name: str
    sqnr_db: float = math.nan
    correlation: float = math.nan
    distinct: float = math.nan
    distinct_float: float = math.nan
    equal: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class LayerRow:
    """One weighted layer, in the order of the graph.

    Attributes:
        name: Name of the node.
        op_type: Its operator.
        weight_bits: Bits of its weights; 32 where they are float.
        act_bits: Bits of its input.
        weight_exponents: Lowest and highest k of the weights' scales 2^k over the channels.
        act_exponent: k of the input's scale 2^k.
        clipped: Share of the input's values that the grid cuts off.
        boxes_db: SQNR of the boxes with only this layer quantized, in dB.
        scores_db: The same of the scores.
        cumulative_db: SQNR of the layer's output with all layers up to it quantized, in dB.
        bytes: Size of its weights in the file.
        integer: Whether it computes with integers; None where that was not asked.
        reason: Why it does not.
        weight_thresholds: Lowest and highest log₂ of the weights' thresholds over the channels.
        input_threshold: log₂ of the threshold of its input; NaN where that is float.
        output_threshold: Of what it puts out, behind its activation function, likewise.
        output_clipped: Share of the values of that output that its grid cuts off.
        other_db: SQNR of the outputs that are neither boxes nor scores, with only this layer
            quantized, in dB.
        agreement: Of the detections with only this layer quantized, in 0…1.
        local_db: SQNR of its own output, with the same input in both models, in dB.
        cumulative_boxes_db: SQNR of the boxes with all layers up to it quantized, in dB.
        cumulative_scores_db: Of the scores, likewise.
        cumulative_other_db: Of the outputs that are neither, likewise.
        spared_bits: The bits that it gets where it is spared.
        spared_bytes: How much larger the file is then.
        gain_boxes_db: How much nearer the boxes come then, in dB.
        gain_scores_db: The scores, likewise.
        rank: Its place among the layers, 1 for the one that harms most; NaN where there is none.
        mark: What is said beside its name, such as ``parts here``.
        note: What is out of order with it.
        wrong: Whether it is the culprit, or one of them.
    """

    name: str
    op_type: str
    weight_bits: int
    act_bits: int
    weight_exponents: tuple[int, int] | None = None
    act_exponent: int | None = None
    clipped: float = math.nan
    boxes_db: float = math.nan
    scores_db: float = math.nan
    cumulative_db: float = math.nan
    bytes: float = math.nan
    integer: bool | None = None
    reason: str = ""
    weight_thresholds: tuple[float, float] | None = None
    input_threshold: float = math.nan
    output_threshold: float = math.nan
    output_clipped: float = math.nan
    other_db: float = math.nan
    agreement: float = math.nan
    local_db: float = math.nan
    cumulative_boxes_db: float = math.nan
    cumulative_scores_db: float = math.nan
    cumulative_other_db: float = math.nan
    spared_bits: float = math.nan
    spared_bytes: float = math.nan
    gain_boxes_db: float = math.nan
    gain_scores_db: float = math.nan
    rank: float = math.nan
    mark: str = ""
    note: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class StepRow:
    """Some layers spared.

    Attributes:
        layers: Their names, those that gain most for their bytes first.
        bytes: How much larger the file is.
        boxes_db: SQNR of the boxes then, in dB.
        scores_db: The same of the scores.
        other_db: Of the outputs that are neither.
        agreement: Of the detections, in 0…1.
        suggested: Whether this is what is suggested.
    """

    layers: tuple[str, ...]
    bytes: float
    boxes_db: float = math.nan
    scores_db: float = math.nan
    other_db: float = math.nan
    agreement: float = math.nan
    suggested: bool = False


@dataclass(frozen=True)
class Distribution:
    """The values of a tensor, and between which thresholds they are kept.

    Attributes:
        name: Name of the tensor or layer.
        edges: Ends of the bins, one more than there are counts.
        counts: Values in each bin.
        low: Smallest value of the grid.
        high: Largest value of the grid.
        note: What is to be said of it, such as the share that is cut off.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[float, ...]
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Calibration:
    """The pictures that ranges were found with.

    Attributes:
        text: Where they come from, in words.
        pictures: Some of them as data URIs; empty where they cannot be shown.
        losses: Loss of the whole set before the first and after each pass, if synthesised.
    """

    text: str
    pictures: tuple[str, ...] = ()
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        model: Name of the model.
        kind: What was done, such as ``Compilation``.
        version: Version of zqc.
        precision: Such as ``w4a8``.
        target: What it was written for.
        verdict: Whether it is still good.
        warnings: What must not be overlooked, in full sentences.
        tiles: The numbers that matter.
        pictures: What both models find in pictures.
        matches: How near the detections of both are.
        classes: Class by class.
        parts: Outputs, part by part.
        layers: Layer by layer, in the order of the graph.
        layers_note: What was done with each of them, in a sentence.
        steps: What sparing more and more of them gains.
        distributions: Values of the worst layers.
        distributions_of: Of which tensors those are, in words.
        calibration: The pictures that ranges were found with.
        recipe: What it was made with, as TOML.
        command: The command that makes the same again.
        facts: Everything else, by label.
    """

    model: str
    kind: str
    version: str
    precision: str = ""
    target: str = ""
    verdict: Verdict | None = None
    warnings: tuple[str, ...] = ()
    tiles: tuple[Tile, ...] = ()
    pictures: Pictures | None = None
    matches: Matches | None = None
    classes: tuple[ClassRow, ...] = ()
    parts: tuple[PartRow, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    layers_note: str = ""
    steps: tuple[StepRow, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    distributions_of: str = "the tensors that are cut off most"
    calibration: Calibration | None = None
    recipe: str = ""
    command: str = ""
    facts: tuple[tuple[str, str], ...] = ()
