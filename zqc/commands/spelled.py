"""A call as the command line that does the same, ready for a shell."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zqc.pictures.input_format import InputFormat, is_bgr
from zqc.recipe.recipe import LEARNING, TUNED, Recipe

if TYPE_CHECKING:
    from zqc.commands.inputs import CalibrationSource

_SPECIAL = {"[": "[[]", "*": "[*]", "?": "[?]"}


def command_line(
    command: str,
    model: object,
    recipe: Recipe,
    given: CalibrationSource,
    more: Sequence[str] = (),
    *,
    beside: Sequence[object] = (),
) -> str:
    """Write a call as a command.

    Args:
        command: Such as ``compile``.
        model: The path of the model; a model in memory is called MODEL.
        recipe: What was asked for: what differs from the defaults is written.
        given: Where calibration pictures come from; what is no path is called DIR.
        more: Further options, quoted already.
        beside: What follows the model: the paths of other models.
    """
    default = Recipe()
    if command == "compile" and (given.labels is not None or _learns_otherwise(recipe)):
        command, default = "tune", TUNED
    models = [shlex.quote(str(m)) if isinstance(m, Path) else "MODEL" for m in (model, *beside)]
    parts = ["zqc", command, *models]
    if given.images is not None:
        images = given.images if isinstance(given.images, Path) else "DIR"
        parts += ["--images", shlex.quote(str(images))]
    if given.labels is not None and command == "tune":
        parts += ["--labels", shlex.quote(str(given.labels))]
    if given.statistics is not None:
        parts += ["--statistics", shlex.quote(str(given.statistics))]
    if given.no_statistics:
        parts.append("--no-statistics")
    if given.require_statistics:
        parts.append("--require-statistics")
    left_out = ("rounding",) if command == "tune" else LEARNING
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value != getattr(default, field.name) and field.name not in left_out:
            parts += _option(field.name, value)
    return " ".join([*parts, *more])


def _learns_otherwise(recipe: Recipe) -> bool:
    """Whether weights are learned in a way that ``zqc compile`` has no options for."""
    default = Recipe()
    return recipe.learns_weights and any(
        getattr(recipe, name) != getattr(default, name) for name in LEARNING
    )


def layer_options(floats: Iterable[str], bits_of: Mapping[str, int]) -> tuple[str, ...]:
    """Options that name single layers: those in float, and those with bits of their own."""
    return (
        *(f"--keep-float {shlex.quote(exactly(name))}" for name in floats),
        *(f"--bits-of {shlex.quote(f'{exactly(n)}={bits}')}" for n, bits in bits_of.items()),
    )


def exactly(name: str) -> str:
    """The pattern that a name alone matches."""
    return "".join(_SPECIAL.get(character, character) for character in name)


def _option(field: str, value: Any) -> list[str]:
    option = f"--{field.replace('_', '-')}"
    if field == "input_format":
        return _input_options(value)
    if field == "keep_float":
        return [f"{option} {shlex.quote(pattern)}" for pattern in value]
    if field == "bits_of":
        return [f"{option} {shlex.quote(f'{name}={bits}')}" for name, bits in value.items()]
    if field == "loss_weights":
        return [f"{option} {','.join(f'{name}={weight:g}' for name, weight in value.items())}"]
    if field == "inputs":
        texts = [f"{name}={','.join(f'{v:g}' for v in values)}" for name, values in value.items()]
        return [f"--input {shlex.quote(text)}" for text in texts]
    if field == "input_shape":
        return [f"{option} {value[0]}x{value[1]}"]
    if isinstance(value, bool):
        return [option if value else f"--no-{field.replace('_', '-')}"]
    return [] if value is None else [f"{option} {shlex.quote(str(value))}"]


def _input_options(value: object) -> list[str]:
    options = ["--bgr"] if is_bgr(value) else []  # type: ignore[arg-type]
    if not isinstance(value, InputFormat):
        return options
    if len(value.low) == 1:
        return [f"--input-range={value.low[0]:g}:{value.high[0]:g}", *options]
    std = [1 / (high - low) for low, high in zip(value.low, value.high, strict=True)]
    mean = [-low * each for low, each in zip(value.low, std, strict=True)]
    texts = (",".join(f"{number:.6g}" for number in numbers) for numbers in (mean, std))
    return [*(f"{o}={t}" for o, t in zip(("--mean", "--std"), texts, strict=True)), *options]
