"""How pixels become values of a model's input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from zqc.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ChannelOrder = Literal["RGB", "BGR"]
"""Stands for an input format of which only the order of the channels is known."""

CHANNEL_ORDERS: tuple[ChannelOrder, ...] = get_args(ChannelOrder)

FitMode = Literal["letterbox", "letterbox-top-left", "stretch"]
"""How a picture of another size gets into an input: with its proportions on grey, centred or in the
upper left corner, or stretched."""

Fit = Literal["auto"] | FitMode
"""The same, or as the detector's family usually has it."""

FITS: tuple[Fit, ...] = ("auto", *get_args(FitMode))


@dataclass(frozen=True)
class InputFormat:
    """How an 8-bit pixel p becomes a value of the model's input.

    The tensor value is ``low + p / 255 * (high - low)``, per channel.

    Attributes:
        low: Tensor value of pixel 0; one number, or one per channel of the tensor.
        high: Tensor value of pixel 255, likewise.
        bgr: Whether the channels of the tensor stand in the order blue, green, red.
    """

    low: tuple[float, ...] = (0.0,)
    high: tuple[float, ...] = (1.0,)
    bgr: bool = False

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not self.low:
            raise OptionError(
                f"the input range has {len(self.low)} low and {len(self.high)} high values; "
                "give one of each, or one of each per channel"
            )
        for low, high in zip(self.low, self.high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise OptionError(
                    f"the input range {low:g}:{high:g} cannot be used; it needs two finite "
                    "numbers, the lower one first, such as 0:1, -1:1 or 0:255"
                )

    @classmethod
    def from_range(cls, low: float, high: float, bgr: bool = False) -> InputFormat:
        """Pixels 0…255 become ``low``…``high`` in every channel.

        Raises:
            OptionError: Unless low < high, both finite.
        """
        return cls((float(low),), (float(high),), bgr)

    @classmethod
    def from_mean_std(
        cls, mean: Sequence[float], std: Sequence[float], bgr: bool = False
    ) -> InputFormat:
        """Pixels are normalised to ``(p / 255 - mean) / std``, per channel of the tensor.

        When any mean or standard deviation exceeds 1, all of them are taken to be in units of
        8-bit pixels: ``(p - mean) / std``. So both (0.485, 0.456, 0.406) with (0.229, 0.224,
        0.225) and (104, 117, 127) with (1, 1, 1) mean what they usually mean.

        Args:
            mean: One number, or one per channel in the order of the tensor's channels.
            std: As many positive numbers.
            bgr: Whether the tensor's channels stand in the order blue, green, red.

        Raises:
            OptionError: The counts differ, are not 1 or 3, or a number cannot be used.
        """
        if len(mean) != len(std) or len(mean) not in (1, 3):
            raise OptionError(
                f"{len(mean)} means and {len(std)} standard deviations were given; give as many "
                "of both: 1, or 3 in the order of the model's channels"
            )
        if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
            raise OptionError(
                f"mean {_text(mean)} and standard deviation {_text(std)} cannot be used: all "
                "must be finite, and the standard deviations above 0"
            )
        white = 255.0 if max(map(abs, (*mean, *std))) > 1 else 1.0
        pairs = list(zip(mean, std, strict=True))
        return cls(
            tuple((0.0 - m) / s for m, s in pairs), tuple((white - m) / s for m, s in pairs), bgr
        )

    def __str__(self) -> str:
        """The range, or that of each channel: ``-1:1``, ``0:1, BGR``."""
        ranges = [f"{low:.4g}:{high:.4g}" for low, high in zip(self.low, self.high, strict=True)]
        return ", ".join([*ranges, *["BGR"] * self.bgr])

    def bounds(self, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The tensor values of pixel 0 and pixel 255, each of shape (1, channels, 1, 1).

        Raises:
            OptionError: The format has another number of channels.
        """
        if len(self.low) not in (1, channels):
            raise OptionError(
                f"the input format has {len(self.low)} channels, but the model's input has "
                f"{channels}; give 1 or {channels} values"
            )
        low, high = (
            np.broadcast_to(np.asarray(v, np.float32), (channels,)).reshape(1, channels, 1, 1)
            for v in (self.low, self.high)
        )
        return low.copy(), high.copy()

    def to_tensor(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn RGB or grey pixels (N,)H,W,C into a tensor (N,)C,H,W."""
        if self.bgr:
            pixels = pixels[..., ::-1]
        low, high = (v.reshape(-1) for v in self.bounds(pixels.shape[-1]))
        values = pixels.astype(np.float32) / np.float32(255) * (high - low) + low
        return np.ascontiguousarray(np.moveaxis(values, -1, -3))

    def unit_to_tensor(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn RGB or grey pictures N,C,H,W, 0 black and 1 white, into a tensor N,C,H,W."""
        low, high = self.bounds(pictures.shape[1])
        ordered = pictures[:, ::-1] if self.bgr else pictures
        return np.ascontiguousarray(ordered * (high - low) + low)

    def to_pixels(self, tensor: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Turn a tensor (N,)C,H,W into RGB or grey pixels (N,)H,W,C: rounded and clipped."""
        values = np.moveaxis(tensor, -3, -1)
        low, high = (v.reshape(-1) for v in self.bounds(values.shape[-1]))
        pixels = np.clip(np.rint((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels[..., ::-1] if self.bgr else pixels)


def asked_format(
    input_range: tuple[Sequence[float], Sequence[float]] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    bgr: bool,
    spelled: Callable[[str], str] = str,
) -> InputFormat | ChannelOrder:
    """Return what a range, means and deviations say together; the order alone if none is given.

    Args:
        input_range: Values of pixel 0 and of pixel 255, one number or one per channel.
        mean: What the input is normalised with; goes with ``std``.
        std: Likewise.
        bgr: Whether the channels stand in the order blue, green, red.
        spelled: How messages spell ``input_range``, ``mean`` and ``std``.

    Raises:
        OptionError: They contradict each other, or one of a pair is missing.
    """
    if input_range is not None and (mean or std):
        raise OptionError(
            f"{spelled('input_range')} and {spelled('mean')}/{spelled('std')} exclude each other; "
            "give one of the two"
        )
    if bool(mean) != bool(std):
        given, missing = ("mean", "std") if mean else ("std", "mean")
        raise OptionError(f"{spelled(given)} needs {spelled(missing)}; give both")
    if mean and std:
        return InputFormat.from_mean_std(mean, std, bgr=bgr)
    if input_range is None:
        return "BGR" if bgr else "RGB"
    low, high = (tuple(map(float, end)) for end in input_range)
    return InputFormat(low, high, bgr)


def is_bgr(asked: InputFormat | ChannelOrder) -> bool:
    """Whether the channels stand in the order blue, green, red."""
    return asked.bgr if isinstance(asked, InputFormat) else asked == "BGR"


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
