"""What the diagnoses of a quantized detector find out, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from zqc.diagnosis.effects import Effect
from zqc.report.printing import Printable
from zqc.statistics.input_choice import InputChoice


@dataclass(frozen=True)
class ValueHistogram:
    """Values of a tensor, and where its grid ends.

    Attributes:
        edges: Of the bins, one more than there are.
        counts: Values in each bin.
        low: Smallest value of the grid.
        high: Largest value of the grid.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    low: float
    high: float


@dataclass(frozen=True)
class LayerSensitivity:
    """What quantizing one layer does, and what sparing it gains.

    Attributes:
        name: Its name.
        op_type: Its operator.
        weights: Number of its weights.
        weight_bits: Bits of its weights.
        act_bits: Bits of its input.
        weight_exponents: Smallest and largest exponent k of the thresholds 2^k of its weights.
        input_exponent: Of its input; None where that is float.
        output_exponent: Of what it puts out, behind its activation function, likewise.
        clipped: Share of the values of that output that its grid cuts off, 0…1; NaN where float.
        histogram: Of that output; None where it is float.
        alone: Only this layer quantized.
        cumulative: This layer and all before it quantized.
        restored: All but this layer quantized as they are, and this one with ``spared_bits``.
        spared_bits: 8, or 32 for float.
        spared_bytes: How much larger the file is then.
        gain_boxes_db: How much nearer the boxes come then, in dB; NaN without boxes.
        gain_scores_db: The scores, likewise.
    """

    name: str
    op_type: str
    weights: int
    weight_bits: int
    act_bits: int
    weight_exponents: tuple[int, int]
    input_exponent: int | None
    output_exponent: int | None
    clipped: float
    histogram: ValueHistogram | None = field(repr=False)
    alone: Effect
    cumulative: Effect
    restored: Effect
    spared_bits: int
    spared_bytes: int
    gain_boxes_db: float
    gain_scores_db: float


@dataclass(frozen=True)
class LayerDiagnosis:
    """What became of one layer of the float model.

    Attributes:
        name: Its name.
        op_type: Its operator.
        counterpart: Name of what it is in the quantized model; empty where that was not found.
        found_by: What both have in common: ``name``, ``weights`` or ``order``.
        weights: Number of its weights.
        weight_bits: Bits of its weights, 32 for float.
        act_bits: Bits of its input, likewise.
        weight_gain: By which factor its weights are larger than they should be: the median over the
            output channels.
        weights_db: SQNR of the weights in dB.
        weight_exponents: log₂ of the largest weight of a channel: the smallest and the largest.
        input_exponent: log₂ of the threshold of its input; NaN where that is float.
        output_exponent: Of what it puts out, behind its activation function, likewise.
        clipped: Share of the values of that output that its grid cuts off, 0…1; NaN where float.
        histogram: Of that output in the quantized model; None where it is float.
        local_db: SQNR of the layer's own output, both fed with what the quantized model gives it.
        cumulative_db: SQNR of its output in the quantized model against the float model.
        alone: This layer alone as it is in the quantized model.
        possible: This layer alone with the same bits, rounded as well as they allow; the same as
            ``alone`` where nothing is out of order.
        reasons: What is out of order with it, in sentences; empty where nothing is.
        severe: Whether no rounding and no headroom explains that.
        suspect: Whether it is out of order, and harms the outputs by it.
    """

    name: str
    op_type: str
    counterpart: str
    found_by: str
    weights: int
    weight_bits: int
    act_bits: int
    weight_gain: float
    weights_db: float
    weight_exponents: tuple[float, float]
    input_exponent: float
    output_exponent: float
    clipped: float
    histogram: ValueHistogram | None = field(repr=False)
    local_db: float
    cumulative_db: float
    alone: Effect
    possible: Effect
    reasons: tuple[str, ...] = ()
    severe: bool = False
    suspect: bool = False


@dataclass(frozen=True)
class DebugResult(Printable):
    """The outcome of ``zqc.debug``.

    Attributes:
        float_model: The float model.
        quantized: The model that was made of it.
        input_choice: How pixels become input values.
        pictures: What both were run on, in words.
        convention: How detections are read from the outputs; empty where that is not known.
        everything: The quantized model as it is.
        layers: Every layer of the float model that was found, in graph order.
        ranked: The same, the culprit first.
        not_found: Names of the layers without a counterpart.
        parts_at: Names of the first layers where the two models part.
        verdict: The culprit and why, or that no layer is out of order, in a sentence.
        seconds: Wall time.
        behind: Whether what is computed behind the last layers is out of order, and no layer.
        recipe: What the quantized model was compiled with, as TOML; empty where it does not say.
        command: The command that finds the same again, ready for a shell.
        next_command: The command that says which layers to spare; empty where something is out of
            order, which sparing does not mend.
        saturation: What speaks against the weights on this processor, though layers are compared
            with exact sums; empty where nothing does.
    """

    text_by = ("zqc.report.diagnosis_text", "debugged")

    float_model: str
    quantized: str
    input_choice: InputChoice
    pictures: str
    convention: str
    everything: Effect
    layers: tuple[LayerDiagnosis, ...]
    ranked: tuple[LayerDiagnosis, ...]
    not_found: tuple[str, ...]
    parts_at: tuple[str, ...]
    verdict: str
    seconds: float = math.nan
    behind: bool = False
    recipe: str = ""
    command: str = ""
    next_command: str = ""
    saturation: str = ""


@dataclass(frozen=True)
class Step:
    """Some layers spared, those that gain most for their bytes first.

    Attributes:
        layers: Their names, in this order.
        extra_bytes: How much larger the file is, as predicted.
        effect: What comes out.
    """

    layers: tuple[str, ...]
    extra_bytes: int
    effect: Effect


@dataclass(frozen=True)
class Suggestion:
    """Layers to spare.

    Attributes:
        layers: Their names; none where sparing layers gains nothing for the bytes it may cost.
        bits: What they get: 8 bits, or 32 for float.
        options: Options of ``zqc compile`` that spare them.
        command: The command as a whole, ready for a shell.
        extra_bytes: How much larger the file is, as predicted.
        predicted: What comes out, on the pictures that layers were evaluated on.
        bytes_before: Size of the file without, as measured.
        bytes_after: Size of the file with these options, as measured.
        before: What comes out without, over all pictures, as measured on the file.
        measured: What comes out with these options, likewise.
    """

    layers: tuple[str, ...]
    bits: int
    options: tuple[str, ...]
    command: str
    extra_bytes: int
    predicted: Effect
    bytes_before: int
    bytes_after: int
    before: Effect
    measured: Effect


@dataclass(frozen=True)
class SensitivityResult(Printable):
    """The outcome of ``zqc.sensitivity``.

    Attributes:
        model: What was quantized.
        precision: ``int8``, ``w4a8``, …
        target: What it was lowered for.
        input_choice: How pixels become input values.
        calibration: Where the calibration data came from, in words.
        pictures: On how many of them layers were evaluated.
        all_pictures: How many there are, on which the suggestion was measured.
        convention: How detections are read from the outputs; empty where that is not known.
        detections: Detections of the float model on the evaluated pictures.
        everything: All layers quantized.
        layers: Every layer with rounded weights, in graph order.
        steps: What sparing more and more layers gains, within the budget.
        budget: Bytes that the suggestion may cost.
        suggestion: What to do.
        seconds: Wall time.
        cache: The file in which the evaluations are kept, if they are.
        recipe: What it was quantized with, as TOML.
        command: The command that finds the same again, ready for a shell.
    """

    text_by = ("zqc.report.diagnosis_text", "sensitivities")

    model: str
    precision: str
    target: str
    input_choice: InputChoice
    calibration: str
    pictures: int
    all_pictures: int
    convention: str
    detections: int
    everything: Effect
    layers: tuple[LayerSensitivity, ...]
    steps: tuple[Step, ...]
    budget: int
    suggestion: Suggestion
    seconds: float = math.nan
    cache: Path | None = None
    recipe: str = ""
    command: str = ""

    @property
    def ranked(self) -> tuple[LayerSensitivity, ...]:
        """The layers, those whose quantization alone harms the outputs most first."""
        return tuple(sorted(self.layers, key=lambda layer: -layer.alone.error))

    @property
    def breaks_at(self) -> int:
        """Place of the layer with which the error of the outputs grows most, all before it, too."""
        errors = [0.0, *(layer.cumulative.error for layer in self.layers)]
        growth = [after - before for before, after in pairwise(errors)]
        return max(range(len(growth)), key=growth.__getitem__)
