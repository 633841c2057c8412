"""Networks of Darknet: numbers in ``.weights``, and what they are in the ``.cfg`` beside it.

The order of the numbers is that of ``load_convolutional_weights`` in Darknet: of a convolution with
BatchNorm β, γ, mean, variance and the kernel; without, the bias and the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Never

import numpy as np

from zqc.errors import StatisticsError
from zqc.parsing.text import ParseError, read_text, shown
from zqc.statistics.files.weights import Floats, Weights

Section = dict[str, str]

_MOST = 10**9
"""Channels. No network has as many, and their product stays a number that can be worked with."""

_AS_BEFORE = frozenset(
    {"maxpool", "avgpool", "upsample", "dropout", "shortcut", "sam", "scale_channels", "yolo"}
    | {"region", "softmax", "cost", "detection", "gaussian_yolo", "local_avgpool", "activation"}
)
"""Layers without weights that keep the number of channels."""


def read_darknet(path: Path) -> Weights:
    """Read weights and BatchNorm, named ``layers.0.conv.weight``, ``layers.0.bn.running_mean``, ….

    Raises:
        StatisticsError: The ``.cfg`` is missing, has layers of an unknown kind, or is of another
            network.
    """
    description = path.with_suffix(".cfg")
    try:
        text = read_text(description, lenient=True)
    except FileNotFoundError as error:
        raise StatisticsError(
            f"{path} holds numbers alone: what they are stands in its .cfg; put that beside it as "
            f"{description.name}"
        ) from error
    except OSError as error:
        raise StatisticsError(f"cannot read {description}: {error.strerror or error}") from error
    except ParseError as error:
        raise StatisticsError(f"{description} {error}") from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StatisticsError(f"cannot read {path}: {error.strerror or error}") from error
    numbers = _Numbers(content, path, description)
    arrays: dict[str, Floats] = {}
    channels: list[int] = []
    sections = _sections(text)
    if not sections or sections[0][0] not in ("net", "network"):
        raise StatisticsError(
            f"{description} is no description of Darknet: it begins with no [net]"
        )
    try:
        first = _number(sections[0][1], "channels", 3)
        for index, (kind, section) in enumerate(sections[1:]):
            before = channels[-1] if channels else first
            if kind in ("convolutional", "conv"):
                after = _convolution(section, before, f"layers.{index}", numbers.take, arrays)
            else:
                after = _channels(kind, section, before, channels, description)
            if after > _MOST:
                raise ValueError(f"it has {after:,} channels")
            channels.append(after)
    except ValueError as error:
        raise StatisticsError(f"{description}, layer {len(channels)}: {error}") from error
    numbers.check_end()
    return Weights(arrays)


class _Numbers:
    """The numbers of a file, one after the other."""

    def __init__(self, content: bytes, path: Path, description: Path) -> None:
        self.path, self.description = path, description
        if len(content) < 20:
            raise StatisticsError(f"{path} is no file of Darknet: it has {len(content)} bytes")
        major, minor = np.frombuffer(content, "<i4", 2).tolist()
        # Then the revision, and how many pictures were seen, in 4 bytes or in 8.
        start = 20 if major * 10 + minor >= 2 and max(major, minor) <= 1000 else 16
        if (len(content) - start) % 4:
            self._other(f"it has {len(content)} bytes")
        self.values = np.frombuffer(content, "<f4", offset=start)
        self.at = 0

    def take(self, shape: tuple[int, ...]) -> Floats:
        """The next numbers, in this shape."""
        count = 1
        for size in shape:
            count *= size
        if self.at + count > len(self.values):
            self._other(f"it has only {len(self.values)} numbers")
        taken: Floats = self.values[self.at : self.at + count].reshape(shape)
        self.at += count
        return taken

    def check_end(self) -> None:
        """Hold that nothing is left."""
        if self.at < len(self.values):
            self._other(f"of its {len(self.values)} numbers {len(self.values) - self.at} are left")

    def _other(self, detail: str) -> Never:
        raise StatisticsError(
            f"{self.path} does not fit {self.description}: {detail}; give the two files of one "
            "network"
        )


def _sections(text: str) -> list[tuple[str, Section]]:
    found: list[tuple[str, Section]] = []
    for line in (raw.partition("#")[0].partition(";")[0].strip() for raw in text.splitlines()):
        if line.startswith("["):
            found.append((line.strip("[]").strip().lower(), {}))
        elif "=" in line and found:
            key, _, value = line.partition("=")
            found[-1][1][key.strip()] = value.strip()
    return found


def _convolution(
    section: Section,
    before: int,
    name: str,
    take: Callable[[tuple[int, ...]], Floats],
    arrays: dict[str, Floats],
) -> int:
    filters, groups = _number(section, "filters", 1), _number(section, "groups", 1)
    size = _number(section, "size", 1)
    if before % groups:
        raise ValueError(f"{before} channels in {groups} groups")
    if _number(section, "batch_normalize", 0, least=0):
        for array in ("bias", "weight", "running_mean", "running_var"):
            arrays[f"{name}.bn.{array}"] = take((filters,))
    else:
        arrays[f"{name}.conv.bias"] = take((filters,))
    arrays[f"{name}.conv.weight"] = take((filters, before // groups, size, size))
    return filters


def _channels(
    kind: str, section: Section, before: int, channels: list[int], description: Path
) -> int:
    """Channels behind a layer without weights."""
    if kind in _AS_BEFORE:
        return before
    if kind == "route":
        sources = [_whole("layers", each) for each in section.get("layers", "").split(",")]
        if not all(-len(channels) <= each < len(channels) for each in sources):
            raise ValueError(f"layers={shown(sources)} are not all before it")
        joined = sum(channels[each if each >= 0 else len(channels) + each] for each in sources)
        return joined // _number(section, "groups", 1)
    if kind in ("reorg", "reorg3d"):
        return before * _number(section, "stride", 2) ** 2
    raise StatisticsError(
        f"{description} has a layer [{kind[:60]}], and zqc reads convolutional networks of Darknet "
        "alone; give the statistics as a twin or a card"
    )


def _number(section: Section, key: str, default: int, least: int = 1) -> int:
    """A whole number of a section that is not too small.

    Raises:
        ValueError: It is none.
    """
    number = _whole(key, section.get(key, str(default)))
    if number < least:
        raise ValueError(f"{key} is {number}, but must be at least {least}")
    return number


def _whole(key: str, text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", text):
        raise ValueError(f"{key} is {shown(text)}, but must be a whole number")
    return int(text)
