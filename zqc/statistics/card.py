"""Statistics cards: what pictures were like inside a network, without the pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zqc.errors import OptionError, StatisticsError
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.correspondence import Fingerprint, LayerIdentity

FORMAT = "zqc statistics card"
VERSION = 1

_DIGITS = 3
"""Significant digits of variances and ranges. Other pictures of the same kind, a hundred of them,
would give moments that differ by percents, so more digits say nothing of the kind: they only speak
of these very pictures and make the file larger."""

_MEAN_STEP = 1e-2
"""Means are rounded to this share, or less, of the unit in which the synthesis compares them."""


@dataclass(frozen=True)
class CardEntry:
    """One layer of a card.

    Attributes:
        layer: What it is recognised by.
        statistics: Moments of its output over pictures and positions, per channel.
        low: Smallest value of the whole output.
        high: Largest.
    """

    layer: LayerIdentity
    statistics: LayerStatistics
    low: float
    high: float


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        pictures: Over how many pictures the moments are.
        shape: Shape of one input, (channels, height, width).
        input_format: How pixels became input values.
        entries: The layers, in graph order.
    """

    pictures: int
    shape: tuple[int, int, int]
    input_format: InputFormat
    entries: tuple[CardEntry, ...]


def to_text(card: Card, *, written_by: str) -> str:
    """Write a card as JSON, rounded, one line per layer.

    Args:
        card: What to write.
        written_by: Version of zqc.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "zqc": written_by,
        "pictures": card.pictures,
        "input_shape": card.shape,
        "input": {
            "low": card.input_format.low,
            "high": card.input_format.high,
            "bgr": card.input_format.bgr,
        },
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    entries = [
        json.dumps(_entry_to_json(entry), separators=(",", ":"), ensure_ascii=False)
        for entry in card.entries
    ]
    return "\n".join(["{", *lines, ' "layers": [', ",\n".join(entries), "]}", ""])


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        StatisticsError: The file is missing, no card, of a newer format, or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StatisticsError(f"statistics card {path} does not exist") from error
    except OSError as error:
        raise StatisticsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or nested without end
        message = f"{path} is no statistics card: {error}; make one with zqc stats"
        raise StatisticsError(message) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise StatisticsError(f"{path} is no statistics card; make one with zqc stats")
    if content.get("version") != VERSION:
        raise StatisticsError(
            f"{path} has version {content.get('version')} of the format, this zqc reads "
            f"{VERSION}; it was written by zqc {content.get('zqc')}, upgrade to that"
        )
    try:
        return _card_from_json(content)
    except (KeyError, TypeError, ValueError, OverflowError, OptionError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise StatisticsError(
            f"statistics card {path} is damaged: {detail}; make it again with zqc stats"
        ) from error


def _entry_to_json(entry: CardEntry) -> dict[str, Any]:
    layer, statistics = entry.layer, entry.statistics
    steps = 10.0 ** np.floor(np.log10(_MEAN_STEP * statistics.unit))
    return {
        "output": layer.output,
        "operator": layer.operator,
        "shape": layer.shape,
        "weights": _fingerprint_to_json(layer.weights),
        "bias": _fingerprint_to_json(layer.bias),
        "range": [_rounded(entry.low), _rounded(entry.high)],
        "mean": [_to_step(m, s) for m, s in zip(statistics.mean, steps, strict=True)],
        "variance": [_rounded(d**2) for d in statistics.deviation],
    }


def _card_from_json(content: dict[str, Any]) -> Card:
    pictures, shape = int(content["pictures"]), tuple(map(int, content["input_shape"]))
    if len(shape) != 3 or min(shape) < 1 or pictures < 1:
        raise ValueError(f"{pictures} pictures of shape {shape}")
    given = content["input"]
    low, high = _numbers(given["low"], "input"), _numbers(given["high"], "input")
    entries = tuple(_entry_from_json(entry) for entry in content["layers"])
    if not entries:
        raise ValueError("it has no layers")
    input_format = InputFormat(tuple(low.tolist()), tuple(high.tolist()), bool(given["bgr"]))
    return Card(pictures, (shape[0], shape[1], shape[2]), input_format, entries)


def _entry_from_json(content: dict[str, Any]) -> CardEntry:
    name = str(content["output"])
    mean, variance = (_numbers(content[key], name) for key in ("mean", "variance"))
    low, high = _numbers(content["range"], name).tolist()
    if len(mean) != len(variance) or not len(mean) or variance.min() < 0:
        raise ValueError(f"mean and variance of {name!r} do not belong together")
    layer = LayerIdentity(
        output=name,
        operator=str(content["operator"]),
        shape=tuple(map(int, content["shape"])),
        channels=len(mean),
        weights=Fingerprint(*_numbers(content["weights"], name).tolist()),
        bias=Fingerprint(*_numbers(content["bias"], name).tolist()),
    )
    return CardEntry(layer, LayerStatistics(name, mean, np.sqrt(variance)), low, high)


def _fingerprint_to_json(fingerprint: Fingerprint) -> list[float]:
    """All parts to a hundredth of what they are compared to, see ``Fingerprint.is_near``."""
    step = 10.0 ** math.floor(math.log10(max(fingerprint.norm, 1e-30) * 1e-5))
    parts = (fingerprint.norm, fingerprint.real, fingerprint.imaginary)
    return [_to_step(part, step) for part in parts]


def _numbers(values: Iterable[float], name: str) -> NDArray[np.float64]:
    array = np.array([float(value) for value in values])
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} has numbers that are not finite")
    return array


def _rounded(value: float) -> float:
    """To ``_DIGITS`` significant digits."""
    return float(f"{value:.{_DIGITS - 1}e}")


def _to_step(value: float, step: float) -> float:
    """To the decimal place of ``step``, a power of ten."""
    return round(float(value), -round(math.log10(step)))
