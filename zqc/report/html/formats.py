"""Numbers as the page writes them; unknown ones are a dash."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from zqc.report.text import bytes_text

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN = "–"
_MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 0) -> str:
    """A number with so many digits behind the point."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    text = f"{value:,.{digits}f}"
    return text.replace("-", _MINUS if text.strip("-0.,") else "")


def signed(value: float, digits: int = 0) -> str:
    """The same, with a sign unless it is zero."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.,") else text


def percent(share: float, digits: int = 1) -> str:
    """A share in percent; one that is not zero does not read so."""
    if 0 < share < 0.5 * 10 ** -(digits + 2):
        return f"< {10.0**-digits:.{digits}f} %"
    return UNKNOWN if math.isnan(share) else f"{number(100 * share, digits)} %"


def size(count: float) -> str:
    """A number of bytes in units that people read."""
    return UNKNOWN if math.isnan(count) else bytes_text(count)


def short(value: float) -> str:
    """A number with as many digits as are needed at the tick of an axis."""
    if not math.isfinite(value):
        return number(value)
    mantissa, _, exponent = f"{value:.6g}".partition("e")
    text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return text.replace("-", _MINUS)


def log2(value: float) -> str:
    """A logarithm: whole ones without a point, since then it is a power of two."""
    return number(value, 0 if float(value).is_integer() else 1)


def added(count: float) -> str:
    """A number of bytes that come or go."""
    if math.isnan(count):
        return UNKNOWN
    text = f"{abs(count):.0f} B" if abs(count) < 1000 else bytes_text(abs(count))
    return f"{'+' if count >= 0 else _MINUS}{text}"


def bits(count: int) -> str:
    """Bits of a tensor; those of floats in words."""
    return "float" if count >= 16 else str(count)


def known(values: Iterable[float]) -> bool:
    """Whether there is a number among them, so that their column is worth its place."""
    return any(not math.isnan(value) for value in values)


def sort_key(value: float) -> str:
    """A number as a script reads it; unknown ones are empty."""
    if math.isnan(value):
        return ""
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else f"{value:.9g}"


def sentence(text: str) -> str:
    """A text as a sentence; one that begins with a name keeps it as it is."""
    first = text.split(" ", 1)[0]
    capital = text[:1].upper() if first.islower() and first.isalpha() else text[:1]
    return f"{capital}{text[1:]}."
