"""What the user asked for, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from zqc.errors import OptionError
from zqc.input_format import InputFormat

Effort = Literal["quick", "standard", "thorough"]
Target = Literal["ort-x86", "portable"]
Terms = Literal["both", "mean", "std"]

BITS = (4, 8)
EFFORTS: tuple[Effort, ...] = get_args(Effort)
TARGETS: tuple[Target, ...] = get_args(Target)
TERMS: tuple[Terms, ...] = get_args(Terms)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of ``zqc compile`` that decide what the output is.

    Attributes:
        bits: Bits of the weights, 4 or 8.
        act_bits: Bits of the activations, 4 or 8.
        first_last_bits: Bits of weights and activations of the first and the last layers.
        samples: Number of calibration pictures; None leaves it to the effort.
        seed: Seed of everything random.
        input_format: How pixel values become the input tensor; None to find it from the statistics.
        bgr: Whether the channels are in the order BGR, for an input format that is to be found.
        input_shape: Height and width for inputs that leave them open.
        target: The runtime that the output is lowered for.
        effort: How long the synthesis works.
        bn_terms: Which BatchNorm statistics the pictures match: means, standard deviations or both.
        tie_channels: Whether all channels of a synthesised picture are the same one.
        keep_float: Patterns (``fnmatch``) of node names that stay in float.
    """

    bits: int = 8
    act_bits: int = 8
    first_last_bits: int = 8
    samples: int | None = None
    seed: int = 0
    input_format: InputFormat | None = None
    bgr: bool = False
    input_shape: tuple[int, int] | None = None
    target: Target = "ort-x86"
    effort: Effort = "standard"
    bn_terms: Terms = "both"
    tie_channels: bool = False
    keep_float: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("bits", "act_bits", "first_last_bits"):
            if getattr(self, name) not in BITS:
                raise OptionError(f"{name} is {getattr(self, name)}, but must be one of {BITS}")
        if self.target not in TARGETS:
            raise OptionError(f"unknown target {self.target!r}; known: {', '.join(TARGETS)}")
        if self.effort not in EFFORTS:
            raise OptionError(f"unknown effort {self.effort!r}; known: {', '.join(EFFORTS)}")
        if self.bn_terms not in TERMS:
            raise OptionError(f"unknown terms {self.bn_terms!r}; known: {', '.join(TERMS)}")
        if self.samples is not None and self.samples < 1:
            raise OptionError(f"samples is {self.samples}, but at least 1 picture is needed")
        if self.input_shape is not None and min(self.input_shape) < 1:
            raise OptionError(f"input shape {self.input_shape} must be positive")

    @property
    def precision(self) -> str:
        """The usual short name: ``int8`` for W8A8, else ``w4a8``, ``w4a4``, ``w8a4``."""
        if self.bits == self.act_bits == 8:
            return "int8"
        return f"w{self.bits}a{self.act_bits}"
