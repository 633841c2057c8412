"""Recipes as data: presets, TOML files, and the models that were compiled with them.

A file has a line per field of ``Recipe`` that it sets, under the field's own name. Three things are
written differently from Python:

- ``preset = "hptq"``: the fields that the file does not set are those of this preset.
- ``inputs = { scale_factor = [1, 1] }``: the values of inputs beside the picture, on one line; and
  ``bits_of = { "/stem/*" = 8 }`` and ``loss_weights = { heads = 0.1 }`` likewise.
- The input format: ``input_range = [-1, 1]``, or ``[[…], […]]`` with a number per channel, or
  ``mean = […]`` and ``std = […]``; and ``bgr``.

A field that is None has no line, and these three have none without values.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from zqc.errors import OptionError
from zqc.parsing.names import unknown_key
from zqc.parsing.text import ParseError, is_number, is_whole, parsed_toml, shown
from zqc.pictures.input_format import ChannelOrder, InputFormat, asked_format, is_bgr
from zqc.recipe.recipe import CHOICES, PRESETS, Recipe

METADATA_KEY = "recipe"
"""Where a compiled model keeps its recipe."""

TYPES = {name: hint for name, hint in get_type_hints(Recipe).items() if name != "input_format"}
"""Of the fields that have a line of their own."""

_FORMAT = ("input_range", "mean", "std", "bgr")
KEYS = ("preset", *TYPES, *_FORMAT)
"""Everything that may stand in a file."""

ELSEWHERE = (
    *("images", "labels", "statistics", "no_statistics", "require_statistics", "anchors"),
    *("decoder", "threads", "memory", "report", "output"),
)
"""What is asked for beside a recipe: files of one machine, and how it is used."""


def from_toml(text: str, *, where: str) -> Recipe:
    """Return the recipe of a TOML text.

    Args:
        text: TOML.
        where: What errors call it.

    Raises:
        OptionError: It is not TOML, a key is unknown, or a value is none that its key can have.
    """
    try:
        table = parsed_toml(text)
    except ParseError as error:
        raise OptionError(f"{where} {error}") from error
    try:
        return _of_table(table)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error.__cause__


def to_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML with every field that is not None; ``from_toml`` gives it back."""
    return "".join(f"{key} = {_written(value)}\n" for key, value in to_table(recipe).items())


def to_table(recipe: Recipe) -> dict[str, Any]:
    """Return what stands in the file of a recipe: numbers, texts and lists by their keys."""
    table: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if field.name == "input_format":
            table |= _format_table(value) if isinstance(value, InputFormat) else {}
            table["bgr"] = is_bgr(value)
        elif isinstance(value, dict):
            plain = {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
            table |= {field.name: plain} if value else {}
        elif isinstance(value, tuple):
            table[field.name] = list(value)
        elif value is not None:
            table[field.name] = value
    return table


def _unknown(key: str) -> str:
    if key.replace("-", "_") in ELSEWHERE:
        return f"{key!r} is no field of a recipe; say --{key.replace('_', '-')} beside it"
    return unknown_key(key, KEYS)


def _of_table(table: Mapping[str, Any]) -> Recipe:
    for key in table:
        if key not in KEYS:
            raise OptionError(_unknown(key))
    preset = table.get("preset")
    if preset is not None:
        _checked("preset", preset, preset in list(PRESETS), f"one of {', '.join(PRESETS)}")
    base = Recipe() if preset is None else PRESETS[preset]
    fields = {key: _typed(key, value) for key, value in table.items() if key in TYPES}
    if any(key in table for key in _FORMAT):
        fields["input_format"] = _input_format(table, base)
    return dataclasses.replace(base, **fields)


def _typed(key: str, value: Any) -> Any:
    """The value with the type that its field has; which values it can have, Recipe says."""
    if key in CHOICES:
        choices = CHOICES[key]
        known = value in choices and type(value) is type(choices[0])
        return _checked(key, value, known, f"one of {', '.join(map(str, choices))}")
    hint = TYPES[key]
    if get_origin(hint) is types.UnionType:
        (hint,) = (option for option in get_args(hint) if option is not types.NoneType)
    if hint is str:
        return _checked(key, value, isinstance(value, str), "a text")
    if hint is float:
        return float(_checked(key, value, is_number(value), "a number"))
    if hint is int:
        return _checked(key, value, is_whole(value), "a whole number")
    if hint is bool:
        return _checked(key, value, isinstance(value, bool), "true or false")
    if get_origin(hint) is Mapping:
        tables = value.values() if isinstance(value, dict) else [None]
        if get_args(hint)[-1] is int:
            said = "a table of whole numbers, by patterns of names"
            return _checked(key, value, all(map(is_whole, tables)), said)
        if get_args(hint)[-1] is float:
            said = "a table of numbers, by terms of the loss"
            return _checked(key, value, all(map(is_number, tables)), said)
        said = "a table of numbers, or lists of them, by the names of inputs"
        fits = all(is_number(each) or _is_numbers(each) for each in tables)
        return _checked(key, value, fits, said)
    items = value if isinstance(value, list) else [None]
    if get_args(hint)[-1] is Ellipsis:
        texts = all(isinstance(item, str) for item in items)
        return tuple(_checked(key, value, texts, "a list of texts"))
    size = len(items) == 2 and all(map(is_whole, items))
    return tuple(_checked(key, value, size, "[height, width]"))


def _checked(key: str, value: Any, fits: bool, allowed: str) -> Any:
    if not fits:
        raise OptionError(f"{key} is {shown(value)}, but must be {allowed}")
    return value


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(map(is_number, value))


def _input_format(table: Mapping[str, Any], base: Recipe) -> InputFormat | ChannelOrder:
    """The input format of a file; the order of the channels where it says no more."""
    for key in ("mean", "std"):
        if key in table:
            _checked(key, table[key], _is_numbers(table[key]), "a list of numbers")
    bgr = table.get("bgr", is_bgr(base.input_format))
    _checked("bgr", bgr, isinstance(bgr, bool), "true or false")
    lists = None
    if "input_range" in table:
        value = table["input_range"]
        ends = value if isinstance(value, list) and len(value) == 2 else []
        lists = [[end] if is_number(end) else end for end in ends]
        fits = ends != [] and all(map(_is_numbers, lists))
        said = "[low, high] with a number, or a list of one per channel"
        _checked("input_range", value, fits, said)
    return asked_format(
        None if lists is None else (lists[0], lists[1]),
        table.get("mean"),
        table.get("std"),
        bgr=bgr,
    )


def _format_table(value: InputFormat) -> dict[str, Any]:
    """A range, or means and deviations where these say exactly the same in a few digits."""
    low, high = value.low, value.high
    if len(low) == 1:
        return {"input_range": [low[0], high[0]]}
    for white in (1.0, 255.0):
        std = [float(f"{white / (h - lo):.6g}") for lo, h in zip(low, high, strict=True)]
        mean = [float(f"{-lo * s:.6g}") + 0.0 for lo, s in zip(low, std, strict=True)]
        try:
            if InputFormat.from_mean_std(mean, std, bgr=value.bgr) == value:
                return {"mean": mean, "std": std}
        except OptionError:
            break  # a range that no means and deviations stand for
    return {"input_range": [list(low), list(high)]}


def _written(value: Any) -> str:
    """A value as TOML: JSON has the same form for all that a recipe holds, but for one character.

    Not tomli-w: it breaks every list into lines.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(k)} = {_written(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
