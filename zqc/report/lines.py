"""How a fact stands in a line, the same for all commands."""

from __future__ import annotations

from rich.text import Text

_LABEL_WIDTH = 17


def line(label: str, value: str, style: str = "") -> Text:
    """A label in bold, and what is said of it."""
    return Text.assemble((f"{label:<{_LABEL_WIDTH}}", "bold"), (value, style))


def bytes_text(count: float) -> str:
    """A number of bytes in units that people read."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def milliseconds_text(time: float) -> str:
    """A time in milliseconds with three digits; a long one whole rather than as a power of ten."""
    return f"{time:,.0f} ms" if time >= 999.5 else f"{time:.3g} ms"
