"""Recipes that differ in a few fields, every value of one with every value of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from zqc.errors import OptionError
from zqc.parsing.names import hint
from zqc.parsing.text import ParseError, parsed_toml
from zqc.recipe.recipe import Recipe
from zqc.recipe.toml import TYPES

_MOST = 1000
"""Recipes of one sweep: more than anybody waits for."""

_FIELDS = {
    name: get_args(hint) if get_origin(hint) in (Literal, UnionType) else (hint,)
    for name, hint in TYPES.items()
}
"""What a field of a recipe can be: types, or the texts that there are."""

_SINGLE = (bool, int, float, str, NoneType)


@dataclass(frozen=True)
class Variation:
    """One recipe of several.

    Attributes:
        values: What it has in the fields that differ, by name.
        recipe: The recipe.
    """

    values: Mapping[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        """What tells it from the others, fit for the name of a file: ``bits-4.seed-1``."""
        told = [f"{key.replace('_', '-')}-{typed(value)}" for key, value in self.values.items()]
        return ".".join(told)


def varied(text: str) -> tuple[str, tuple[Any, ...]]:
    """Read ``bits=4,3`` or ``rounding=learned,compensated``; dashes in the name are underscores.

    Raises:
        ParseError: It is not written so.
    """
    key, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(",")]
    if not equals or not key.strip() or not all(parts):
        raise ParseError(f"{text!r}: write FIELD=VALUE,VALUE,…, for example seed=0,1,2")
    key = key.strip().replace("-", "_")
    return key, tuple(_value(part, text=_is_text(key)) for part in parts)


def variations(base: Recipe, fields: Mapping[str, Any]) -> tuple[Variation, ...]:
    """Return a recipe for every choice of one value a field, the last field changing fastest.

    Args:
        base: What all have in the other fields.
        fields: The values, or a single one, by the names of fields that hold one number, text or
            truth value.

    Raises:
        OptionError: A field is none of those, a value is none that it can have or stands twice,
            or there is nothing to vary.
    """
    if not isinstance(fields, Mapping):
        raise OptionError('what varies is a dict of values by fields, such as {"seed": (0, 1)}')
    choices = {str(key): _several(values) for key, values in fields.items()}
    able = [key for key, kinds in _FIELDS.items() if all(map(_is_single, kinds))]
    for key, values in choices.items():
        if key not in able:
            why = "it holds more than one value" if key in vars(base) else hint(key, able)
            raise OptionError(f"{key!r} cannot be varied; {why}")
        if not values:
            raise OptionError(f"{key} has no values to choose from")
        twice = [value for place, value in enumerate(values) if value in values[:place]]
        if twice:
            raise OptionError(f"{key} has the value {twice[0]} twice")
    if not choices:
        raise OptionError("there is nothing to vary; say what, for example seed=0,1,2")
    found = [dict(zip(choices, one, strict=True)) for one in product(*choices.values())]
    if len(found) > _MOST:
        raise OptionError(f"these are {len(found):,} recipes, and {_MOST:,} may be tried at most")
    return tuple(Variation(values, replace(base, **values)) for values in found)


def _is_single(kind: object) -> bool:
    """Whether what a field can be is one number, text or truth value, or nothing."""
    return kind in _SINGLE or isinstance(kind, str)


def _several(values: Any) -> tuple[Any, ...]:
    """Values one after another, or a single one."""
    single = isinstance(values, str) or not isinstance(values, Iterable)
    return (values,) if single else tuple(values)


def values_text(values: Mapping[str, Any]) -> str:
    """Values of fields in words: ``bits 4, ema true``."""
    return ", ".join(f"{key} {typed(value)}" for key, value in values.items())


def typed(value: object) -> str:
    """A value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_text(key: str) -> bool:
    """Whether a field holds a text, be it one that looks like a number, such as a version."""
    return any(kind is str or isinstance(kind, str) for kind in _FIELDS.get(key, ()))


def _value(part: str, *, text: bool) -> Any:
    """What TOML makes of it, or else the text itself."""
    if text and part[0] not in "'\"":
        return part
    try:
        return parsed_toml(f"value = {part}")["value"]
    except ParseError:
        return part
