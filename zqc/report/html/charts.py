"""Charts as SVG inside of the page. Colours, fonts and widths of lines are in its style sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from zqc.report.html.axes import Axis, span
from zqc.report.html.formats import percent, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zqc.report.html.page import Distribution, Interval, Point

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 50
"""Room around a plot for ticks and labels, whose letters grow on narrow screens."""


def line(
    values: Sequence[float],
    *,
    title: str,
    x_label: str,
    y_label: str,
    names: Sequence[str] = (),
    first: int = 0,
    log: bool = False,
    good: float = math.nan,
    width: int = 640,
) -> Markup:
    """Draw a line through values one after another.

    Args:
        values: The values; those that cannot be drawn leave a gap.
        title: What it shows, for those who cannot see it.
        x_label: What is counted from left to right.
        y_label: What the values are.
        names: What each value belongs to, told by a pointer.
        first: The number of the first value.
        log: Whether the axis of the values is logarithmic.
        good: From here on values are good; a line says so.
        width: Width of the drawing in its own units; it fills the place that it is given.
    """
    points = [
        (first + index, value)
        for index, value in enumerate(values)
        if math.isfinite(value) and (value > 0 or not log)
    ]
    marks = [] if math.isnan(good) else [good]
    low, high = span([y for _, y in points] + marks, zero=not log, log=log)
    x = Axis(first, max(first + len(values) - 1, first + 1), _LEFT, width - _RIGHT)
    y = Axis(low, high, 280 - _BOTTOM, _TOP, log=log)
    parts = [_axes(x, y, x_label, y_label, whole=True)]
    if marks:
        parts.append(
            f'<line class="good" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y(good):.1f}" '
            f'y2="{y(good):.1f}"/><text class="good" x="{_LEFT + 6}" y="{y(good) - 7:.1f}">'
            f"good from {escape(short(good))}</text>"
        )
    parts += [
        f'<polyline class="line" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in run)}"/>'
        for run in _runs(points)
    ]
    if len(points) <= 120:
        for place, value in points:
            name = names[place - first] if names else f"{x_label} {place}"
            parts.append(_dot(x(place), y(value), f"{name}: {value:.4g}", "dot", 3))
    return _svg(width, 280, title, _said(values, y_label), parts)


def scatter(points: Sequence[Point], *, title: str, x_label: str, y_label: str) -> Markup:
    """Draw points of two shares in 0…1, with the line where both are equal.

    Args:
        points: The points; those with a missing number are left out.
        title: What it shows, for those who cannot see it.
        x_label: What the first number is.
        y_label: What the second number is.
    """
    seen = [(a, b) for a, b in points if math.isfinite(a) and math.isfinite(b)]
    x, y = Axis(0, 1, _LEFT, 400 - _RIGHT), Axis(0, 1, 380 - _BOTTOM, _TOP)
    parts = [
        _axes(x, y, x_label, y_label),
        f'<line class="equal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>',
    ]
    parts += [
        _dot(x(a), y(b), f"{a:.2f} → {b:.2f}", "dot soft", 3.5)
        for a, b in sorted(seen)  # the same bytes, whatever order they were found in
    ]
    return _svg(400, 380, title, f"{len(seen)} points", parts)


def histogram(found: Distribution) -> Markup:
    """Draw how often values are, on a scale of roots, and the thresholds that they are cut at."""
    edges, counts = found.edges, found.counts
    ends = [value for value in (found.low, found.high) if math.isfinite(value)]
    low, high = min([edges[0], *ends]), max([edges[-1], *ends])
    room = 0.02 * (high - low) or 0.5
    x = Axis(low - room, high + room, 12, 308)
    y = Axis(0, math.sqrt(max(counts, default=0)) or 1, 130, 14)
    parts = []
    for end, start in zip((found.low, found.high), (12, x(found.high)), strict=True):
        if math.isfinite(end):
            width = x(end) - 12 if end == found.low else 308 - start
            parts.append(
                f'<rect class="outside" x="{start:.1f}" y="14" width="{max(width, 0):.1f}" '
                f'height="116"/>'
            )
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        if count > 0:
            top = y(math.sqrt(count))
            parts.append(
                f'<rect class="bin" x="{x(left):.2f}" y="{top:.1f}" '
                f'width="{max(x(right) - x(left), 0.4):.2f}" height="{130 - top:.1f}"/>'
            )
    for end in ends:
        parts.append(f'<line class="cut" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="8" y2="134"/>')
    parts.append('<line class="axis" x1="12" x2="308" y1="130" y2="130"/>')
    for tick in x.ticks(4):
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x(tick):.1f}" y="150">'
            f"{short(tick)}</text>"
        )
    said = f"{found.name}: values from {edges[0]:.4g} to {edges[-1]:.4g}"
    return _svg(320, 160, said, f"kept between {short(found.low)} and {short(found.high)}", parts)


def interval(found: Interval) -> Markup:
    """Draw a difference with its confidence interval beside zero."""
    reach = 1.15 * (max(map(abs, (found.low, found.high, found.value))) or 1.0)
    x = Axis(-reach, reach, 8, 232)
    said = (
        f"difference {found.value:+.2f} {found.unit}, interval from {found.low:+.2f} to "
        f"{found.high:+.2f}"
    )
    parts = [
        '<line class="axis" x1="8" x2="232" y1="14" y2="14"/>',
        f'<line class="equal" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="3" y2="25"/>',
        f'<line class="range" x1="{x(found.low):.1f}" x2="{x(found.high):.1f}" y1="14" y2="14"/>',
        _dot(x(found.value), 14, said, "dot", 5),
    ]
    return _svg(240, 28, "Difference to the float model", said, parts)


def shares(parts: Sequence[tuple[str, str, float]]) -> Markup:
    """Draw what belongs together as one bar.

    Args:
        parts: Class of the style sheet, name and count of each part.
    """
    total = sum(count for _, _, count in parts) or 1
    drawn, start = [], 0.0
    for style, name, count in parts:
        width = 1000 * count / total
        if count:
            drawn.append(
                f'<rect class="share {escape(style)}" x="{start:.1f}" y="0" '
                f'width="{max(width - 3, 1):.1f}" height="14" rx="3"><title>{escape(name)}: '
                f"{count:,.0f}</title></rect>"
            )
        start += width
    said = ", ".join(f"{name} {count:,.0f} ({percent(count / total)})" for _, name, count in parts)
    return _svg(1000, 14, "Detections", said, drawn, stretched=True)


def _axes(x: Axis, y: Axis, x_label: str, y_label: str, *, whole: bool = False) -> str:
    """Grid, ticks and labels."""
    left, right, bottom, top = x.start, x.end, y.start, y.end
    parts = []
    for tick in y.ticks():
        place = y(tick)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{place:.1f}" y2="{place:.1f}"/>'
            f'<text class="tick" text-anchor="end" dominant-baseline="middle" x="{left - 8}" '
            f'y="{place:.1f}">{short(tick)}</text>'
        )
    for tick in x.ticks():
        if whole and tick != int(tick):
            continue
        parts.append(
            f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{bottom}" '
            f'y2="{bottom + 4}"/><text class="tick" text-anchor="middle" x="{x(tick):.1f}" '
            f'y="{bottom + 20}">{short(tick)}</text>'
        )
    middle = (top + bottom) / 2
    parts.append(
        f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        f'<text class="label" text-anchor="middle" x="{(left + right) / 2}" y="{bottom + 42}">'
        f'{escape(x_label)}</text><text class="label" text-anchor="middle" '
        f'transform="translate(15 {middle}) rotate(-90)">{escape(y_label)}</text>'
    )
    return "".join(parts)


def _runs(points: Sequence[tuple[int, float]]) -> Iterable[list[tuple[int, float]]]:
    """Points that follow each other without a gap."""
    run: list[tuple[int, float]] = []
    for point in points:
        if run and point[0] != run[-1][0] + 1:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _dot(x: float, y: float, said: str, style: str, radius: float) -> str:
    return (
        f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        f"<title>{escape(said)}</title></circle>"
    )


def _said(values: Sequence[float], label: str) -> str:
    """A line in words."""
    seen = [value for value in values if math.isfinite(value)]
    if not seen:
        return f"{label}: no values"
    return f"{label}: from {seen[0]:.4g} to {seen[-1]:.4g}, least {min(seen):.4g}"


def _svg(
    width: int,
    height: int,
    title: str,
    description: str,
    parts: Iterable[str],
    *,
    stretched: bool = False,
) -> Markup:
    ratio = ' preserveAspectRatio="none"' if stretched else ""
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img"{ratio}>'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )
