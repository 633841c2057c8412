"""Statistics cards: what pictures were like inside a network, without the pictures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zqc.errors import OptionError, StatisticsError
from zqc.parsing.text import ParseError, is_number, is_whole, parsed_json, read_text, shown
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.correspondence import Fingerprint, LayerIdentity

FORMAT = "zqc statistics card"
VERSION = 1

_MOST_BYTES = 2**28
_MOST_SIZE = 2**31

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
        content = parsed_json(read_text(path, most=_MOST_BYTES))
    except FileNotFoundError as error:
        raise StatisticsError(f"statistics card {path} does not exist") from error
    except OSError as error:
        raise StatisticsError(f"cannot read {path}: {error.strerror or error}") from error
    except ParseError as error:
        message = f"{path} is no statistics card: it {error}; make one with zqc stats"
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
    except (KeyError, ValueError, OptionError) as error:
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
    pictures, shape = content["pictures"], tuple(_list(content["input_shape"], "input_shape"))
    sizes = (pictures, *shape)
    if len(shape) != 3 or not all(is_whole(size) and 0 < size < _MOST_SIZE for size in sizes):
        raise ValueError(f"it is of {shown(pictures)} pictures of shape {shown(shape)}")
    given = _table(content["input"], "input")
    low, high = _numbers(given["low"], "input"), _numbers(given["high"], "input")
    layers = _list(content["layers"], "layers")
    entries = tuple(_entry_from_json(_table(entry, "a layer")) for entry in layers)
    if not entries:
        raise ValueError("it has no layers")
    if not isinstance(given["bgr"], bool):
        raise ValueError(f"bgr is {shown(given['bgr'])}, but must be true or false")
    input_format = InputFormat(tuple(low.tolist()), tuple(high.tolist()), given["bgr"])
    return Card(pictures, (shape[0], shape[1], shape[2]), input_format, entries)


def _entry_from_json(content: dict[str, Any]) -> CardEntry:
    name = _text(content["output"], "output")
    mean, variance = (_numbers(content[key], name) for key in ("mean", "variance"))
    low, high = _numbers(content["range"], name, count=2).tolist()
    if len(mean) != len(variance) or not len(mean) or variance.min() < 0:
        raise ValueError(f"mean and variance of {name!r} do not belong together")
    layer = LayerIdentity(
        output=name,
        operator=_text(content["operator"], f"operator of {name!r}"),
        shape=_shape(content["shape"], name),
        channels=len(mean),
        weights=Fingerprint(*_numbers(content["weights"], name, count=3).tolist()),
        bias=Fingerprint(*_numbers(content["bias"], name, count=3).tolist()),
    )
    return CardEntry(layer, LayerStatistics(name, mean, np.sqrt(variance)), low, high)


def _fingerprint_to_json(fingerprint: Fingerprint) -> list[float]:
    """All parts to a hundredth of what they are compared to, see ``Fingerprint.is_near``."""
    step = 10.0 ** math.floor(math.log10(max(fingerprint.norm, 1e-30) * 1e-5))
    parts = (fingerprint.norm, fingerprint.real, fingerprint.imaginary)
    return [_to_step(part, step) for part in parts]


def _numbers(values: Any, name: str, *, count: int | None = None) -> NDArray[np.float64]:
    for value in _list(values, name):
        if not is_number(value):
            raise ValueError(f"{name!r} has {shown(value)} where a finite number must be")
    if count not in (None, len(values)):
        raise ValueError(f"{name!r} has {len(values)} numbers where {count} must be")
    return np.array(values, np.float64)


def _shape(values: Any, name: str) -> tuple[int, ...]:
    if not all(is_whole(size) and 0 < size < _MOST_SIZE for size in _list(values, name)):
        raise ValueError(f"the shape of {name!r} is {shown(values)}")
    return tuple(values)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} has {shown(value)} where a list must be")
    return value


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is {shown(value)}, but must be an object")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the {name} is {shown(value)}, but must be a text")
    return value


def _rounded(value: float) -> float:
    """To ``_DIGITS`` significant digits."""
    return float(f"{value:.{_DIGITS - 1}e}")


def _to_step(value: float, step: float) -> float:
    """To the decimal place of ``step``, a power of ten."""
    return round(float(value), -round(math.log10(step)))
