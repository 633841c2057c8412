"""The one command that helps most after a verdict."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from zqc.commands.inputs import CalibrationSource
from zqc.commands.pair import Pair
from zqc.commands.spelled import command_line
from zqc.detection.verdict import Verdict
from zqc.recipe.recipe import Recipe


def after_check(
    verdict: Verdict,
    pair: Pair,
    *,
    real: bool,
    faulty: bool,
    saturated: bool = False,
    anchors: Path | None = None,
    images: Path | None = None,
) -> str:
    """What to type after ``zqc check``; empty where nothing need be done.

    1. Nothing after *good*, unless the pictures were made up: then a look at real ones.
    2. Where the kernels of this processor saturate, weights of 7 bits.
    3. Below 8 bits, ``zqc sensitivity`` names the layers that hurt and what more bits gain, unless
       something is wrong that bits do not explain.
    4. Else ``zqc debug`` names the layer where the two models part.

    Args:
        verdict: On the quantized model.
        pair: Both models.
        real: Whether the pictures are real.
        faulty: Whether something is wrong that bits do not explain.
        saturated: Whether 8-bit kernels saturate on this processor, and it costs anything.
        anchors: The file of an SSD's anchors, which the command needs, too.
        images: The pictures, likewise.
    """
    more, same = _options(anchors), _options(anchors, images)
    float_path, quantized = (shlex.quote(str(m.path)) for m in (pair.first, pair.second))
    if verdict.word in ("good", "not judged"):
        return "" if real else f"zqc check {float_path} {quantized} --images DIR{more}"
    recipe = pair.recipe
    if saturated and not faulty:
        narrower = replace(recipe or Recipe(), reduce_range=True)
        return command_line("compile", pair.first.path, narrower, CalibrationSource()) + more
    if not faulty and recipe is not None and _is_narrow(recipe):
        return f"zqc sensitivity {float_path} --recipe {quantized}{same}"
    return f"zqc debug {float_path} {quantized}{same}"


def after_compile(
    verdict: Verdict,
    model: object,
    output: Path | None,
    recipe: Recipe,
    given: CalibrationSource,
    *,
    real: bool,
    noise: bool,
    bits_help: bool,
    saturates: bool = False,
    anchors: Path | None = None,
) -> str:
    """What to type after ``zqc compile``.

    1. After *good*: a look at real pictures, unless it was one.
    2. Where the kernels of this processor can saturate: weights of 7 bits.
    3. Where statistics are missing: pictures, as noise knows nothing of the network.
    4. Where 8-bit weights were tried and are better: ``zqc sensitivity``, which names the layers
       that need them.
    5. With 4-bit activations, be it of the first and last layers alone: 8 bits. Else
       ``zqc debug``.

    Args:
        verdict: On what was written.
        model: The path of the float model.
        output: That of the quantized one.
        recipe: What was asked for.
        given: Where the calibration pictures came from.
        real: Whether they are real.
        noise: Whether they are structured noise.
        bits_help: Whether weights of 8 bits were tried and are better.
        saturates: Whether 8-bit kernels can saturate on this processor.
        anchors: The file of an SSD's anchors, which the command needs, too.
    """
    more = _options(anchors)
    name = shlex.quote(str(model)) if isinstance(model, Path) else "MODEL"
    written = shlex.quote(str(output)) if output is not None else "QUANTIZED"
    if verdict.word in ("good", "not judged"):
        return "" if real else f"zqc check {name} {written} --images DIR{more}"
    if saturates:
        return command_line("compile", model, replace(recipe, reduce_range=True), given) + more
    if noise:
        other = CalibrationSource(images=Path("DIR"))
        return command_line("compile", model, recipe, other) + more
    if bits_help:
        return command_line("sensitivity", model, recipe, given) + more
    if min(recipe.act_bits, recipe.first_last_bits) < 8:
        wider = replace(recipe, act_bits=8, first_last_bits=8)
        return command_line("compile", model, wider, given) + more
    images = given.images if isinstance(given.images, Path) else None
    return f"zqc debug {name} {written}{_options(anchors, images)}"


def _options(anchors: Path | None, images: Path | None = None) -> str:
    given = (("--images", images), ("--anchors", anchors))
    return "".join(f" {name} {shlex.quote(str(path))}" for name, path in given if path is not None)


def _is_narrow(recipe: Recipe) -> bool:
    bits = (recipe.bits, recipe.act_bits, recipe.first_last_bits, *recipe.bits_of.values())
    return min(bits) < 8 or recipe.chooses_bits
