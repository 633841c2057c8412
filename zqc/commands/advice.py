"""The one command that helps most after a verdict."""

from __future__ import annotations

import shlex

from zqc.commands.pair import Pair
from zqc.detection.verdict import Verdict
from zqc.recipe.recipe import Recipe


def after_check(verdict: Verdict, pair: Pair, *, real: bool) -> str:
    """What to type after ``zqc check``; empty where nothing need be done.

    1. Nothing after *good*, unless the pictures were made up: then a look at real ones.
    2. Below 8 bits, ``zqc sensitivity`` names the layers that hurt and what more bits gain.
    3. Else ``zqc debug`` names the layer where the two models part.
    """
    float_path, quantized = (shlex.quote(str(m.path)) for m in (pair.first, pair.second))
    if verdict.word in ("good", "not judged"):
        return "" if real else f"zqc check {float_path} {quantized} --images DIR"
    recipe = pair.recipe
    if verdict.word == "usable with care" and recipe is not None and _is_narrow(recipe):
        return f"zqc sensitivity {float_path} --recipe {quantized}"
    return f"zqc debug {float_path} {quantized}"


def _is_narrow(recipe: Recipe) -> bool:
    return min(recipe.bits, recipe.act_bits) < 8 or recipe.chooses_bits
