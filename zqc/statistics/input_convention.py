"""The input convention of a model, found from its BatchNorm statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.errors import OptionError
from zqc.pictures.dead_leaves import dead_leaves
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session
from zqc.statistics.batch_size import own_batch, takes_any_batch
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.network import matched_part

_LAYERS = 2
"""How many of the first layers count: each further one adds what is wrong with the pictures."""

_BLURS = (0.7, 1.4)
"""Sharpness that the training pictures may have had, in pixels; the one that fits better counts."""

_PIXELS, _MOST_PICTURES = 200_000, 32
"""How many are enough."""

_MARGIN = 2.0
"""How many times worse the next range must fit, see ``detect_input_format``."""

_FIT = 0.1
"""The worst score that counts as a fit, see ``detect_input_format``."""

_ORDER_MARGIN = 1.25
"""How many times worse RGB must fit for BGR to be seen."""

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE = ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class InputConvention:
    """A usual way of turning pixels into input values.

    Attributes:
        range: What it does to the values; conventions that only differ in the order of the
            channels have the same.
        format: The same as a format.
        flags: The options of the command line that say it.
        detail: What the name says besides the range.
    """

    range: str
    format: InputFormat
    flags: str
    detail: str = ""

    @property
    def name(self) -> str:
        """In words."""
        return ", ".join(filter(None, (self.range, self.detail)))

    @classmethod
    def of_range(cls, low: int, high: int, *, bgr: bool) -> InputConvention:
        """Pixels become low…high in every channel."""
        return cls(
            f"{low}:{high}",
            InputFormat.from_range(low, high, bgr),
            f"--input-range={low}:{high}" + " --bgr" * bgr,
            "BGR" * bgr,
        )

    @classmethod
    def of_means(
        cls,
        name: str,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        detail: str = "",
    ) -> InputConvention:
        """Pixels are normalised per channel; a detail means that the order is BGR."""
        numbers = (",".join(f"{value:g}" for value in values) for values in (mean, std))
        flags = "--mean {} --std {}".format(*numbers) + " --bgr" * bool(detail)
        return cls(name, InputFormat.from_mean_std(mean, std, bool(detail)), flags, detail)


def _usual_conventions() -> tuple[InputConvention, ...]:
    found = [
        InputConvention.of_range(low, high, bgr=bgr)
        for low, high in ((0, 1), (-1, 1), (0, 255))
        for bgr in (False, True)
    ]
    for name, (mean, std) in (
        ("ImageNet mean and standard deviation", _IMAGENET),
        ("0:255 minus channel means", _CAFFE),
    ):
        found += [
            InputConvention.of_means(name, mean, std),
            InputConvention.of_means(name, mean[::-1], std[::-1], "BGR"),
        ]
    # PaddlePaddle's detectors take the numbers for red, green, blue in this order for BGR.
    name = "ImageNet mean and standard deviation"
    return (*found, InputConvention.of_means(name, *_IMAGENET, "BGR with the numbers for RGB"))


CONVENTIONS = _usual_conventions()
"""What is tried; of the same range the first one is the one to prefer."""


@dataclass(frozen=True)
class DetectedFormat:
    """The usual convention that fits best.

    Attributes:
        format: The convention.
        name: In words, such as ``0:1`` or ``-1:1, BGR``.
        flags: The options of the command line that say the same.
        scores: Name and score of every convention, the best first; 0 is a perfect match, 1 none.
        certain: Whether the range (not the order of the channels) is beyond doubt.
        order_known: Whether the order of the channels could be told, where it was in question.
        rivals: Names and flags of the conventions to choose from, the best first, where the range
            is in doubt.
    """

    format: InputFormat
    name: str
    flags: str
    scores: tuple[tuple[str, float], ...]
    certain: bool
    order_known: bool
    rivals: tuple[tuple[str, str], ...] = ()

    def require_certain(self) -> None:
        """Ask for the convention where it could not be told.

        Raises:
            OptionError: The range is in doubt; the message names the candidates and their options.
        """
        if self.certain:
            return
        choices = " or ".join(f"{flags} ({name})" for name, flags in self.rivals)
        raise OptionError(
            "how pixels become input values cannot be told from the BatchNorm statistics; say it "
            f"with --input-range, or --mean and --std. What comes nearest: {choices}"
        )


def detect_input_format(
    model: ir.Model,
    layers: Sequence[LayerStatistics],
    picture: tuple[int, int, int],
    *,
    bgr: bool = False,
    threads: int | None = None,
) -> DetectedFormat:
    """Find the convention under which natural-looking pictures give the stored statistics.

    Pictures of ``dead_leaves`` are put through every usual convention and the first two layers, at
    two sharpnesses of which the one that fits better counts. A score is the mean, over channels and
    layers, of the squared Hellinger distance between the normal distributions with the measured
    and with the stored mean and variance,

        1 − √(2·s·σ / (s² + σ²)) · exp(−(m − μ)² / (4·(s² + σ²))),

    between 0 and 1, so that no channel outweighs the others; the variances have the floor of
    ``LayerStatistics.unit``, so that dead channels agree with each other.

    The range is certain when conventions of another range score at least twice as high, and the
    best at most 0.1; ``tools.study.conventions`` measures what these bounds are worth. The order
    of the channels shows only as far as colours do: BGR is taken where RGB scores 1.25 times
    as high.

    Args:
        model: The model.
        layers: Its statistics, in graph order.
        picture: Shape of one picture, (C, H, W).
        bgr: Whether the channels are known to stand in the order blue, green, red.
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: ONNX Runtime cannot run the first layers.
    """
    first = layers[:_LAYERS]
    count = min(max(1, round(_PIXELS / (picture[1] * picture[2]))), _MOST_PICTURES)
    wanted = [layer.output for layer in first]
    batch = count
    if not takes_any_batch(model, wanted, picture, threads=threads):
        batch = own_batch(model)
        count = -(-count // batch) * batch
    part, values = matched_part(model, wanted, (batch, *picture))
    run = session.load(part, threads=threads)
    pictures = dead_leaves(count, picture, blurs=_BLURS)
    names = [values[layer.output].name or "" for layer in first]
    source = part.graph.inputs[0].name or ""

    def outputs_of(tensors: NDArray[np.float32]) -> dict[str, NDArray[np.generic]]:
        batches = (tensors[i : i + batch] for i in range(0, count, batch))
        found = [run({source: some}) for some in batches]
        return {name: np.concatenate([part[name] for part in found]) for name in names}

    def score(convention: InputConvention) -> float:
        tensors = (convention.format.unit_to_tensor(pixels) for pixels in pictures)
        outputs = (outputs_of(some) for some in tensors)
        return min(
            float(np.mean([_distance(o[n], layer) for n, layer in zip(names, first, strict=True)]))
            for o in outputs
        )

    scored = [(convention, score(convention)) for convention in _candidates(picture[0], bgr=bgr)]
    return _decided(scored, order_matters=picture[0] == 3 and not bgr)


def _candidates(channels: int, *, bgr: bool) -> list[InputConvention]:
    if channels == 3:
        return [c for c in CONVENTIONS if c.format.bgr or not bgr]
    return [c for c in CONVENTIONS if len(c.format.low) == 1 and not c.format.bgr]


def _distance(output: NDArray[np.generic], layer: LayerStatistics) -> float:
    """Mean squared Hellinger distance over the channels."""
    values = output.astype(np.float32, copy=False)
    axes = (0, *range(2, values.ndim))
    floor = layer.unit**2 - layer.deviation**2
    with np.errstate(over="ignore", invalid="ignore"):  # the wrong range may overflow
        mean = np.mean(values, axes, dtype=np.float64)
        measured, stored = np.var(values, axes, dtype=np.float64) + floor, layer.unit**2
        both = measured + stored
        overlap = np.sqrt(2 * np.sqrt(measured * stored) / both)
        alike = overlap * np.exp(-((mean - layer.mean) ** 2) / (4 * both))
    return float(np.mean(1 - np.nan_to_num(alike)))


def _decided(scored: list[tuple[InputConvention, float]], *, order_matters: bool) -> DetectedFormat:
    best: dict[str, float] = {}
    for convention, score in scored:
        best[convention.range] = min(score, best.get(convention.range, 1.0))
    # Of each range the first convention that fits about as well as the best one.
    chosen = {
        name: next(c for c, score in scored if c.range == name and score <= _ORDER_MARGIN * least)
        for name, least in best.items()
    }
    ranges = sorted(best, key=lambda name: best[name])
    least = best[ranges[0]]
    close = [name for name in ranges if best[name] < _MARGIN * least]
    certain = len(close) == 1 and least <= _FIT
    winner = chosen[ranges[0]]
    same_range = [score for c, score in scored if c.range == winner.range]
    return DetectedFormat(
        format=winner.format,
        name=winner.name,
        flags=winner.flags,
        scores=tuple(sorted(((c.name, s) for c, s in scored), key=lambda pair: pair[1])),
        certain=certain,
        order_known=not order_matters or sorted(same_range)[1] > _ORDER_MARGIN * least,
        rivals=()
        if certain
        else tuple((chosen[n].name, chosen[n].flags) for n in ranges[: max(len(close), 2)]),
    )
