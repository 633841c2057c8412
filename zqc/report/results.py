"""What a command found out, as typed values that serialise to JSON with ``dataclasses.asdict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zqc.targets import Kernels


@dataclass(frozen=True)
class LayerReport:
    """One weighted layer (Conv, ConvTranspose, Gemm, MatMul) of the output.

    Attributes:
        name: Name of the node.
        op_type: ONNX operator type.
        weight_bits: Bits that its weights were rounded to; 32 where it stayed float.
        act_bits: Bits of its input.
        integer: Whether the installed ONNX Runtime runs it on an integer kernel.
        reason: Why it does not; empty where it does.
    """

    name: str
    op_type: str
    weight_bits: int
    act_bits: int
    integer: bool
    reason: str = ""


@dataclass(frozen=True)
class PartAgreement:
    """How close one part of the outputs is to the float model's.

    Attributes:
        part: ``boxes``, ``scores`` or the name of the output.
        kind: What the numbers of the part are.
        sqnr_db: 10·log10(Σ float² / Σ (float − quantized)²) in dB.
        correlation: Pearson correlation with the float values.
        distinct: Number of distinct values in the quantized part.
        distinct_float: The same for the float model.
    """

    part: str
    kind: Literal["boxes", "scores", "raw"]
    sqnr_db: float
    correlation: float
    distinct: int
    distinct_float: int


@dataclass(frozen=True)
class InputChoice:
    """The input format that a command worked with.

    Attributes:
        name: Its name or its range, such as ``-1:1, BGR``.
        origin: Whether the options say so, the statistics card does, it was found from the
            BatchNorm statistics, or nothing was known.
        flags: The options that say the same, where it was found.
        order_known: Whether the order of the channels was found, too; it may not show.
    """

    name: str
    origin: Literal["given", "card", "found", "assumed"]
    flags: str = ""
    order_known: bool = True


@dataclass(frozen=True)
class FloatOperators:
    """Operators other than weighted layers that run in float, all for the same reason.

    Attributes:
        op_type: Type of the operators.
        names: Their names.
        reason: The rule that stopped them.
    """

    op_type: str
    names: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class CompileResult:
    """The outcome of ``zqc.compile``.

    Attributes:
        output: The file that was written.
        precision: ``int8``, ``w4a8``, …
        target: What it was lowered for.
        input_choice: How pixels become input values.
        calibration: Where the calibration data came from, in words.
        caution: What speaks against relying on them; empty where nothing does.
        saturation: What speaks against the weights on this processor; empty where nothing does.
        bits_chosen: Whether the bits of each layer were chosen for a target size or latency.
        kernels: Where the integer kernels of the target are, see ``zqc.targets.Target``. Elsewhere,
            layers say what the installed ONNX Runtime makes of the file all the same.
        refused: Layers whose output channels could not be equalized, with why; empty where it was
            not asked for.
        layers: Every weighted layer, in graph order.
        float_operators: Operators other than weighted layers that run in float, by reason.
        agreement: Agreement with the float model on the calibration pictures, per output part.
        bytes_before: Size of the float model in bytes, external data included.
        bytes_after: Size of the output in bytes.
        latency_before_ms: Median latency of the float model, one picture, one thread; NaN where
            the target's kernels are not here.
        latency_after_ms: The same of the output.
        post_processing: First nodes of the post-processing, which stays float.
        first_last: Names of the layers that have the first/last bits.
        seconds: Wall time of the compilation.
    """

    output: Path
    precision: str
    target: str
    input_choice: InputChoice
    calibration: str
    layers: tuple[LayerReport, ...]
    float_operators: tuple[FloatOperators, ...]
    agreement: tuple[PartAgreement, ...]
    bytes_before: int
    bytes_after: int
    latency_before_ms: float
    latency_after_ms: float
    post_processing: tuple[str, ...]
    first_last: tuple[str, ...]
    seconds: float
    caution: str = ""
    saturation: str = ""
    bits_chosen: bool = False
    kernels: Kernels = "here"
    refused: tuple[tuple[str, str], ...] = ()

    @property
    def integer_layers(self) -> int:
        """Number of weighted layers on integer kernels."""
        return sum(layer.integer for layer in self.layers)


@dataclass(frozen=True)
class SynthesisResult:
    """The outcome of ``zqc.synthesize``.

    Attributes:
        directory: Where the pictures were written.
        count: Number of pictures.
        shape: Shape of one picture, (channels, height, width).
        input_choice: How pixels become input values.
        source: What they were synthesised from, in words; empty for structured noise.
        layers: Number of layers that were matched.
        first_loss: Loss before the first step; NaN for structured noise.
        last_loss: Loss after the last step.
        seconds: Wall time.
        stopped: Why the pictures are not what was asked for; None if they are.
        checkpoint: What ``resume`` goes on from; None where it cannot.
    """

    directory: Path
    count: int
    shape: tuple[int, int, int]
    input_choice: InputChoice
    source: str
    layers: int
    first_loss: float
    last_loss: float
    seconds: float
    stopped: str | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True)
class StatsResult:
    """The outcome of ``zqc.stats``.

    Attributes:
        output: The card that was written.
        pictures: Number of pictures it is of.
        input_choice: How pixels become input values.
        layers: Number of layers it speaks of.
        channels: Their channels together.
        bytes_written: Size of the card.
        seconds: Wall time.
    """

    output: Path
    pictures: int
    input_choice: InputChoice
    layers: int
    channels: int
    bytes_written: int
    seconds: float


@dataclass(frozen=True)
class Accuracy:
    """COCO average precision, each in 0…1.

    Attributes:
        ap: Mean over IoU 0.50:0.95.
        ap50: At IoU 0.50.
    """

    ap: float
    ap50: float


@dataclass(frozen=True)
class CheckResult:
    """The outcome of ``zqc.check``.

    Attributes:
        images: Number of pictures.
        input_choice: How pixels become input values.
        parts: Agreement of the outputs, per part.
        convention: Name of the recognised output convention; empty when there is none.
        accuracy_float: Against the labels, when there are any.
        accuracy_quantized: Likewise.
        agreement: AP of the quantized model's detections against the float model's; None without
            a convention, without any confident detection, or without the extra ``coco``.
    """

    images: int
    input_choice: InputChoice
    parts: tuple[PartAgreement, ...]
    convention: str = ""
    accuracy_float: Accuracy | None = None
    accuracy_quantized: Accuracy | None = None
    agreement: Accuracy | None = None
