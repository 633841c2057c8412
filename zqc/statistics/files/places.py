"""Where the values of a pickle stand: the names of parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zqc.statistics.files.pickles import NO_KEY, Record

_DEEPEST = 60
"""Levels of modules in modules; networks have ten."""


def places_of(root: Any) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Yield the places of all values in what a pickle holds, each container once.

    The containers of a PyTorch module (``_modules``, ``_parameters``, ``_buffers``) are no part of
    a place: ``model.0.conv.weight`` is called so in a state dict and in a whole model.

    Raises:
        RecursionError: It is nested deeper than networks are.
    """
    seen: set[int] = set()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while waiting:
        place, value = waiting.pop()
        if len(place) > _DEEPEST:
            raise RecursionError(f"it is nested more than {_DEEPEST} levels deep")
        parts: list[tuple[Any, Any]] = []
        if isinstance(value, Record):
            parts = [*value.state.items(), *value.items.items()]
        elif isinstance(value, dict):
            parts = list(value.items())
        elif isinstance(value, (list, tuple)):
            parts = list(enumerate(value))
        else:
            yield place, value
            continue
        if id(value) not in seen:
            seen.add(id(value))
            hidden = {"_buffers", "_modules", "_parameters"} if isinstance(value, Record) else ()
            below = (
                (place if key in hidden else (*place, str(key)), part)
                for key, part in parts
                if key is not NO_KEY
            )
            waiting += reversed(list(below))
