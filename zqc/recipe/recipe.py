"""What the user asked for, as one frozen value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from operator import index
from types import MappingProxyType
from typing import Any, Literal, get_args

from zqc import targets
from zqc.errors import OptionError
from zqc.pictures.input_format import CHANNEL_ORDERS, FITS, ChannelOrder, Fit, InputFormat
from zqc.runtime import versions
from zqc.targets.target import ACT_BITS

Effort = Literal["quick", "standard", "thorough"]
Terms = Literal["both", "mean", "std"]
Equalization = Literal["auto", "none", "statistics", "pictures"]
Shift = Literal["none", "rule", "search"]
InsertFactors = Literal["auto", "always", "never"]
Threshold = Literal["auto", "none", "mse", "mae", "lp", "kl", "sensitivity"]
Rounding = Literal["auto", "nearest", "compensated", "refitted", "learned"]
WeightLevels = Literal["auto", "uniform", "log-affine"]
BiasCorrection = Literal["auto", "none", "statistics", "pictures", "outputs", "learned"]
LossTerm = Literal["features", "agreement", "detection", "heads", "dampening"]

WEIGHT_BITS = tuple(range(2, 9))
BITS = (4, 8)
"""Of first and last layers, weights and activations."""
LEVEL_WIDTHS = (3, 4)
"""Bits of weights that can be on levels, see ``passes.analysis.log_affine``."""
_REDUCED_BITS = 7
_COARSE_BITS = 3
"""With no more, weights are trained at every effort that trains anything, see
docs/results/learning.md."""
_MOST_RATE = 10.0
_MOST_WEIGHT = 1e6
"""What is larger overflows sooner or later."""

_MOST_PIXELS = 10**6
"""Of the height or the width of a picture."""
MOST_SAMPLES = 1_000_000
"""Pictures. They are held in memory, and no machine holds more of them."""
EFFORTS: tuple[Effort, ...] = get_args(Effort)
TERMS: tuple[Terms, ...] = get_args(Terms)
EQUALIZATIONS: tuple[Equalization, ...] = get_args(Equalization)
INSERT_FACTORS: tuple[InsertFactors, ...] = get_args(InsertFactors)
SHIFTS: tuple[Shift, ...] = get_args(Shift)
THRESHOLDS: tuple[Threshold, ...] = get_args(Threshold)
ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
WEIGHT_LEVELS: tuple[WeightLevels, ...] = get_args(WeightLevels)
BIAS_CORRECTIONS: tuple[BiasCorrection, ...] = get_args(BiasCorrection)
LOSS_TERMS: tuple[LossTerm, ...] = get_args(LossTerm)

CHOICES: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "bits": WEIGHT_BITS,
        "act_bits": ACT_BITS,
        "first_last_bits": BITS,
        "effort": EFFORTS,
        "bn_terms": TERMS,
        "equalization": EQUALIZATIONS,
        "insert_factors": INSERT_FACTORS,
        "shift": SHIFTS,
        "threshold": THRESHOLDS,
        "rounding": ROUNDINGS,
        "weight_levels": WEIGHT_LEVELS,
        "bias_correction": BIAS_CORRECTIONS,
        "fit": FITS,
    }
)
"""The values of every field that has few."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of ``zqc compile`` that decide what the output is.

    Attributes:
        bits: Bits of the weights, 2 to 8.
        act_bits: Bits of the activations, 3 to 8; 4 or 8 on targets with 4-bit types.
        first_last_bits: Bits of weights and activations of the first and the last layers, 4 or 8.
        equalization: Whether channels are scaled to a common range between layers, by ranges from
            the BatchNorm statistics or from the calibration pictures. Auto does so, from the
            pictures, where activations have fewer than 8 bits and the outputs come nearer to the
            float model's by it; by how much channels are enlarged, that decides, too.
        insert_factors: Whether equalization may multiply the channels of an activation function
            that does not commute with factors, such as SiLU, in the graph: that costs a
            multiplication. Auto does so where activations have fewer than 8 bits.
        shift: Whether tensors that reach a little below zero get a shifted unsigned grid, by the
            rule of HPTQ or wherever a search finds it better.
        threshold: The error whose minimum is the threshold of an activation; none for no clipping.
            Auto is the squared error, weighted by what it costs the outputs where activations have
            fewer than 8 bits.
        lp: The power p of the threshold ``lp``, 1 or more.
        z_score: Values more than so many standard deviations from the mean of their tensor are left
            out when its threshold is chosen; None leaves out none.
        rounding: Whether weights are rounded to the nearest step, so that the errors of a layer's
            weights compensate each other in its output, so after a least-squares fit to the inputs
            that the quantized layers before leave, or so and then trained with all the others.
            Auto is the second, and the last where activations have fewer than 8 bits and weights
            fewer than 4, but at quick effort, or where the effort is thorough.
        weight_levels: Whether the levels of weights of 3 and 4 bits are uniform, or closer near
            zero (``passes.analysis.log_affine``). Auto is the latter, on targets that take them.
        bias_correction: What the mean that quantization shifts is known from: BatchNorm statistics,
            means of the inputs over the pictures, or outputs measured with all layers before
            quantized; or learned: all biases are trained against the float model. Auto is the
            statistics where pictures are synthesised from them, else the pictures; and from there
            on, where the rounding is auto, too, and the effort not quick, learned where activations
            have fewer than 8 bits.
        second_moments: Whether the deviation that quantization changes is corrected as well.
        channel_outputs: Whether every channel of what the last layers put out has a step of its
            own, so that box offsets do not share the one of the logits.
        uniform_bits: Whether all layers but the first and the last ones have ``bits``, and all
            activations in between ``act_bits``. Else, below 8, layers that need them have more, and
            others fewer; likewise activations.
        extra_bits: By what share the file may be larger than with uniform bits for that, and by
            what share all activations together may have more bits; 0 to 1.
        target_size: Bits are chosen for a file of this share of the float file, between 0 and 1.
        target_latency: Likewise for this share of the float model's latency.
        samples: Number of calibration pictures; None leaves it to the effort.
        seed: Seed of everything random.
        input_format: How pixel values become the input tensor; ``"RGB"`` or ``"BGR"`` where that is
            to be found from the statistics, for channels in this order.
        input_shape: Height and width for inputs that leave them open.
        fit: How pictures of another size get into the input: with their proportions on grey, or
            stretched. Auto is as the detector's family usually has it.
        inputs: Values of inputs beside the picture by name, row by row, or one for all; those that
            are not there have the usual ones.
        loss_weights: What terms of the loss count where something is learned, by their names; those
            that are not there count what they usually do, see ``zqc.tuning.objective``.
        pictures_seen: How many pictures are looked at, each as often as it takes; None leaves it to
            the effort.
        rate: The first step size of the weights, in their steps, for one picture at a time; None
            for one that goes by the pictures.
        ema: Whether the moving average of what is learned is tried, too.
        target: Name of what the output is lowered for, see ``zqc.targets``.
        min_runtime: The oldest ONNX Runtime that has to run the output, such as ``1.16``; None for
            those that zqc itself works with.
        reduce_range: Whether weights have 7 bits at most, so that 8-bit kernels that add pairs of
            products in 16 bits (AVX2 without VNNI) cannot saturate.
        require_integer: Whether a layer or an operator that stays float is an error.
        effort: How long the synthesis works.
        bn_terms: Which BatchNorm statistics the pictures match: means, standard deviations or both.
        tie_channels: Whether all channels of a synthesised picture are the same one.
        task_specific: Whether synthesised pictures show objects with labels, by the loss of the
            detector.
        keep_float: Patterns (``fnmatch``) of node names that stay in float.
        bits_of: Bits of the weights of single layers, 2 to 8, by pattern of their names, whatever
            ``bits``, ``first_last_bits`` and a target size say; the last pattern that matches
            counts.

    Raises:
        OptionError: A value is none of those that its field can have.
    """

    bits: int = 8
    act_bits: int = 8
    first_last_bits: int = 8
    equalization: Equalization = "auto"
    insert_factors: InsertFactors = "auto"
    shift: Shift = "search"
    threshold: Threshold = "auto"
    lp: int = 2
    z_score: float | None = None
    rounding: Rounding = "auto"
    weight_levels: WeightLevels = "auto"
    bias_correction: BiasCorrection = "auto"
    second_moments: bool = False
    channel_outputs: bool = True
    uniform_bits: bool = False
    extra_bits: float = 0.03
    target_size: float | None = None
    target_latency: float | None = None
    samples: int | None = None
    seed: int = 0
    input_format: InputFormat | ChannelOrder = "RGB"
    input_shape: tuple[int, int] | None = None
    fit: Fit = "auto"
    inputs: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)
    loss_weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    pictures_seen: int | None = None
    rate: float | None = None
    ema: bool = False
    target: str = "ort-x86"
    min_runtime: str | None = None
    reduce_range: bool = False
    require_integer: bool = False
    effort: Effort = "standard"
    bn_terms: Terms = "both"
    tie_channels: bool = False
    task_specific: bool = False
    keep_float: tuple[str, ...] = ()
    bits_of: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._check_kinds()
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if value not in choices or (isinstance(choices[0], int) and not whole):
                known = ", ".join(map(str, choices))
                raise OptionError(f"{name} is {value!r}, but must be one of {known}")
        if not isinstance(self.input_format, InputFormat) and (
            self.input_format not in CHANNEL_ORDERS
        ):
            raise OptionError(
                f"input_format is {self.input_format!r}, but must be an InputFormat, "
                f"or {' or '.join(CHANNEL_ORDERS)} for one that is to be found"
            )
        object.__setattr__(self, "inputs", values_of(self.inputs))
        object.__setattr__(self, "bits_of", _checked_bits(self.bits_of))
        object.__setattr__(self, "loss_weights", _checked_weights(self.loss_weights))
        self._check_target()
        for name in ("target_size", "target_latency"):
            share = getattr(self, name)
            if share is not None and not 0 < share < 1:
                raise OptionError(f"{name} is {share:g}, but must be between 0 and 1")
        if not 0 <= self.extra_bits <= 1:
            raise OptionError(
                f"extra_bits is {self.extra_bits:g}, but must be between 0 and 1, such as 0.1 for "
                "a file that may be a tenth larger"
            )
        self._check_numbers()
        self._check_shape()

    def _check_kinds(self) -> None:
        """Numbers are numbers, and switches true or false."""
        for name, kind, said in _KINDS:
            value = getattr(self, name)
            fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
            if not fits and not (value is None and name in _OPEN):
                raise OptionError(f"{name} is {value!r}, but must be {said}")

    def _check_shape(self) -> None:
        given: Any = self.input_shape
        if given is None:
            return
        try:
            shape = tuple(map(index, given))
        except TypeError:
            shape = ()
        if len(shape) != 2 or bool in map(type, given):
            raise OptionError(
                f"input_shape is {given!r}, but must be height and width, such as (640, 640)"
            )
        if not 1 <= min(shape) <= max(shape) <= _MOST_PIXELS:
            raise OptionError(
                f"input_shape is {shape}, but both must be 1 or more, and {_MOST_PIXELS:,} at most"
            )
        object.__setattr__(self, "input_shape", shape)

    def _check_numbers(self) -> None:
        if self.lp < 1:
            raise OptionError(f"lp is {self.lp}, but must be 1 or more")
        for name, most, usual in (
            ("z_score", math.inf, "5 to 20"),
            ("rate", _MOST_RATE, "0.002 to 0.05"),
        ):
            number = getattr(self, name)
            if number is not None and not (0 < number <= most and math.isfinite(number)):
                limit = "a finite number" if most == math.inf else f"at most {most:g}"
                raise OptionError(
                    f"{name} is {number:g}, but must be above 0 and {limit}; usual are {usual}"
                )
        for name in ("samples", "pictures_seen"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise OptionError(f"{name} is {count}, but at least 1 picture is needed")
            if count is not None and count > MOST_SAMPLES:
                raise OptionError(f"{name} is {count}, but may be {MOST_SAMPLES:,} at most")
        if self.seed < 0:
            raise OptionError(f"seed is {self.seed}, but must be 0 or more")

    def _check_target(self) -> None:
        targets.check_name(self.target)
        if self.weight_levels == "log-affine" and not targets.find(self.target).packed:
            raise OptionError(
                f"weight_levels is log-affine, but the target {self.target} takes no codes of "
                "weights; leave it out, or take ort-x86 or ort-arm"
            )
        if self.weight_levels == "log-affine" and not self._may_have_levels():
            raise OptionError(
                f"weight_levels is log-affine, but levels are for weights of 3 and 4 bits, and "
                f"these have {self.weight_bits}; ask for 4 bits, or leave it out"
            )
        if self.min_runtime is None:
            return
        versions.check(self.min_runtime)
        if not self.target.startswith("ort-"):
            raise OptionError(
                f"min_runtime is a version of ONNX Runtime, but the target is {self.target}; "
                "leave one of them out"
            )

    def _may_have_levels(self) -> bool:
        """Whether any weights may have so few bits that they have levels."""
        bits = {self.weight_bits, self.reduced(self.first_last_bits), *self.bits_of.values()}
        if self.chooses_bits or self.may_mix_bits:
            bits |= set(range(self.least_bits, self.most_bits + 1))
        return not bits.isdisjoint(LEVEL_WIDTHS)

    @property
    def weight_bits(self) -> int:
        """Bits of the weights of all layers but the first and the last ones."""
        return self.reduced(self.bits)

    @property
    def first_last_weight_bits(self) -> int:
        """Bits of the weights of the first and the last layers."""
        return self.reduced(self.first_last_bits)

    def reduced(self, bits: int) -> int:
        """So many bits of weights, or as many as the range may have."""
        return min(bits, _REDUCED_BITS) if self.reduce_range else bits

    @property
    def chooses_bits(self) -> bool:
        """Whether bits are chosen layer by layer, for a target size or latency."""
        return self.target_size is not None or self.target_latency is not None

    @property
    def may_mix_bits(self) -> bool:
        """Whether layers may have other bits than ``bits`` without a target that says so."""
        return not (self.uniform_bits or self.chooses_bits) and self.weight_bits < self.most_bits

    @property
    def least_bits(self) -> int:
        """The fewest bits that the weights of a layer between may have: one less where mixed."""
        if self.target_size is not None:
            return WEIGHT_BITS[0]
        return max(WEIGHT_BITS[0], self.weight_bits - self.may_mix_bits)

    @property
    def most_bits(self) -> int:
        """The most bits that weights may have."""
        return self.reduced(WEIGHT_BITS[-1])

    @property
    def refits(self) -> bool:
        """Whether weights or biases make up for what the layers before them have become."""
        return self.rounding == "refitted" or self.bias_correction == "outputs"

    @property
    def minds_noise(self) -> bool:
        """Whether weights are rounded for inputs with the noise that quantization adds to them.

        With 8-bit activations it is that of weights alone, which goes with the inputs: it gains
        nothing there.
        """
        few = self.chooses_bits or self.weight_bits < self.most_bits
        return self.few_bits and few and self.rounding != "nearest" and not self.refits

    @property
    def log_affine(self) -> bool:
        """Whether weights of few bits have levels that are closer near zero."""
        if self.weight_levels == "auto":
            return bool(targets.find(self.target).packed)
        return self.weight_levels == "log-affine"

    @property
    def few_bits(self) -> bool:
        """Whether activations have fewer than 8 bits: then much is worth doing that else is not."""
        return self.act_bits < ACT_BITS[-1]

    @property
    def learns(self) -> bool:
        """Whether biases are trained against the float model, if not weights as well."""
        if self.rounding == self.bias_correction == "auto":
            return self.few_bits and self.effort != "quick"
        return self.learns_weights or self.bias_correction == "learned"

    @property
    def learns_weights(self) -> bool:
        """Whether weights and biases are trained against the float model."""
        if self.rounding == "auto":
            least = "standard" if self.weight_bits <= _COARSE_BITS else "thorough"
            return self.few_bits and EFFORTS.index(self.effort) >= EFFORTS.index(least)
        return self.rounding == "learned"

    @property
    def weighs_errors(self) -> bool:
        """Whether thresholds weigh errors by what they cost the outputs."""
        return self.threshold == "sensitivity" or (self.threshold == "auto" and self.few_bits)

    @property
    def mixes_activations(self) -> bool:
        """Whether activations that need them have more bits, and others fewer."""
        return self.few_bits and not self.uniform_bits

    @property
    def measures_sensitivity(self) -> bool:
        """Whether it counts how much what is put out depends on the tensors."""
        mixes = self.mixes_activations or self.may_mix_bits or self.chooses_bits
        return mixes or self.weighs_errors or self.learns

    @property
    def least_act_bits(self) -> int:
        """The fewest bits that an activation in between may have: one less where mixed."""
        return self.act_bits - self.mixes_activations

    @property
    def precision(self) -> str:
        """The usual short name: ``int8`` for W8A8, else ``w4a8``, ``w4a4``, ``w8a4``; ``mixed``."""
        if self.chooses_bits:
            return "mixed"
        if self.bits == self.act_bits == 8:
            return "int8"
        return f"w{self.bits}a{self.act_bits}"


def _checked_bits(bits_of: Mapping[str, int]) -> dict[str, int]:
    """Bits of single layers, if weights can have so many."""
    for pattern, bits in bits_of.items():
        if bits not in WEIGHT_BITS:
            raise OptionError(
                f"bits_of gives {pattern!r} {bits!r} bits, but weights have {WEIGHT_BITS[0]} to "
                f"{WEIGHT_BITS[-1]}; --keep-float leaves layers in float"
            )
    return dict(bits_of)


def _checked_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """What terms of the loss count, if there are such terms, and something is left to learn by."""
    if not isinstance(weights, Mapping):
        raise OptionError(
            f"loss_weights is {weights!r}, but must have a number for each term, such as "
            '{"detection": 0.1}'
        )
    for name, weight in weights.items():
        if name not in LOSS_TERMS:
            nearest = difflib.get_close_matches(str(name), LOSS_TERMS, n=1)
            hint = f"did you mean {nearest[0]!r}? They" if nearest else "they"
            raise OptionError(
                f"loss_weights has {name!r}, which is no term of the loss; {hint} are "
                f"{', '.join(LOSS_TERMS)}"
            )
        known_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not (known_number and 0 <= weight <= _MOST_WEIGHT):
            raise OptionError(
                f"loss_weights gives {name} {weight!r}, but must give a number from 0 to "
                f"{_MOST_WEIGHT:,.0f}"
            )
    if weights.get("features") == 0 and not any(
        weights.get(name, 0) for name in ("agreement", "detection", "heads")
    ):
        raise OptionError(
            "loss_weights leaves out the features; give agreement, detection or heads a weight then"
        )
    return {name: float(weight) for name, weight in weights.items()}


def values_of(inputs: Mapping[str, object] | None) -> dict[str, tuple[float, ...]]:
    """Return values of inputs as a recipe has them: numbers, row by row.

    Args:
        inputs: By name a number, a list of them, or an array of any shape.

    Raises:
        OptionError: One is none of these.
    """
    try:
        return {name: tuple(_flat(values)) for name, values in (inputs or {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise OptionError(
            f"inputs is {inputs!r}, but must have a number or a list of numbers for each name"
        ) from error


def _flat(values: object) -> Iterable[float]:
    if isinstance(values, str | bytes):
        raise TypeError
    if isinstance(values, Iterable) and getattr(values, "ndim", True):
        for each in values:
            yield from _flat(each)
    else:
        yield float(values)  # type: ignore[arg-type]


_OPEN = (
    *("z_score", "target_size", "target_latency", "samples", "pictures_seen", "rate"),
    "min_runtime",
)
"""Fields that may be None."""

_REALS = ("z_score", "rate", "target_size", "target_latency", "extra_bits")

_KINDS: tuple[tuple[str, type, str], ...] = (
    *((name, Integral, "a whole number") for name in ("lp", "samples", "seed", "pictures_seen")),
    *((n, Real, "a number") for n in _REALS),
    *((n, str, "a text") for n in ("target", "min_runtime")),
    *((f.name, bool, "True or False") for f in fields(Recipe) if isinstance(f.default, bool)),
)

TUNED = Recipe(effort="thorough", rounding="learned")
"""What ``zqc tune`` begins with: ``--effort thorough`` of ``zqc compile``, whatever the bits."""

LEARNING = ("loss_weights", "pictures_seen", "rate", "ema")
"""The fields that only say how something is learned."""

PRESETS: Mapping[str, Recipe] = MappingProxyType(
    {
        "hptq": Recipe(
            equalization="pictures",
            insert_factors="never",
            shift="rule",
            threshold="mse",
            rounding="nearest",
            weight_levels="uniform",
            channel_outputs=False,
            bias_correction="pictures",
            uniform_bits=True,
        ),
        "fast": Recipe(effort="quick", equalization="none"),
        "best": Recipe(effort="thorough", threshold="sensitivity", rounding="learned"),
    }
)
"""Recipes with a name: ``hptq`` as in the paper (arXiv 2109.09113), without its mixed precision."""
