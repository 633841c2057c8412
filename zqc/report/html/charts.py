"""Charts as SVG inside of the page. Colours, fonts and widths of lines are in its style sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from zqc.report.html.axes import Axis, span
from zqc.report.html.formats import known, percent, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zqc.report.html.page import Distribution, Interval, Point

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 50
"""Room around a plot for ticks and labels, whose letters grow on narrow screens."""

_DOTS = 120
"""A line through more values has dots only where there is a mark."""


Series = tuple[str, str, "Sequence[float]"]
"""Class of the style sheet, name, and values one after another."""


def line(
    values: Sequence[float],
    *,
    title: str,
    x_label: str,
    y_label: str,
    names: Sequence[str] = (),
    marks: Sequence[str] = (),
    first: int = 0,
    log: bool = False,
    good: float = math.nan,
    most: float = math.inf,
    width: int = 640,
) -> Markup:
    """Draw a line through values one after another, see ``lines``."""
    return lines(
        [("", "", values)],
        title=title,
        x_label=x_label,
        y_label=y_label,
        names=names,
        marks=marks,
        first=first,
        log=log,
        good=good,
        most=most,
        width=width,
    )


def lines(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    names: Sequence[str] = (),
    marks: Sequence[str] = (),
    first: int = 0,
    log: bool = False,
    good: float = math.nan,
    most: float = math.inf,
    width: int = 640,
) -> Markup:
    """Draw lines through values one after another.

    Args:
        series: The lines, of the same number of values; those that cannot be drawn leave a gap.
        title: What it shows, for those who cannot see it.
        x_label: What is counted from left to right.
        y_label: What the values are.
        names: What each value belongs to, told by a pointer.
        marks: What is special of each; such points are larger. Empty texts are nothing.
        first: The number of the first value.
        log: Whether the axis of the values is logarithmic.
        good: From here on values are good; a line says so.
        most: What is larger is drawn here, at the top.
        width: Width of the drawing in its own units; it fills the place that it is given.
    """
    runs = [
        [
            (first + index, min(value, most))
            for index, value in enumerate(values)
            if math.isfinite(min(value, most)) and (value > 0 or not log)
        ]
        for _, _, values in series
    ]
    lengths = [len(values) for _, _, values in series]
    lines_at = [] if math.isnan(good) else [good]
    low, high = span([y for run in runs for _, y in run] + lines_at, zero=not log, log=log)
    last = first + max(lengths, default=0) - 1
    x = Axis(first, max(last, first + 1), _LEFT, width - _RIGHT)
    y = Axis(low, high, 280 - _BOTTOM, _TOP, log=log)
    parts = [_axes(x, y, x_label, y_label, whole=True)]
    for (style, _, _), points in zip(series, runs, strict=True):
        parts += [
            f'<polyline class="{escape(f"line {style}".strip())}" '
            f'points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in run)}"/>'
            for run in _runs(points)
        ]
    for (style, what, values), points in zip(series, runs, strict=True):
        for place, height in points:
            mark = marks[place - first] if marks else ""
            if not mark and len(points) > _DOTS:
                continue
            name = names[place - first] if names else f"{x_label} {place}"
            said = " ".join(filter(None, (what, short(float(f"{values[place - first]:.4g}")))))
            said = f"{name}: {said}" + (f" ({mark})" if mark else "")
            kind = f"dot {style} {'marked' if mark else ''}".split()
            parts.append(_dot(x(place), y(height), said, " ".join(kind), 6 if mark else 3))
    parts.append(_good(x, y, good))
    described = "; ".join(
        _said(values, what or y_label) for _, what, values in series if not what or known(values)
    )
    return _svg(width, 280, title, described, parts)


def hanging(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    names: Sequence[str],
    marks: Sequence[str] = (),
    good: float = math.nan,
    most: float = 60.0,
    width: int = 1000,
) -> Markup:
    """Draw what is lost as bars that hang from the top: the longer one is, the lower its value.

    Args:
        series: The bars beside each other, of the same number of values; those of which nothing is
            known are left out.
        title: What it shows, for those who cannot see it.
        x_label: What is counted from left to right, from 1.
        y_label: What the values are.
        names: What each value belongs to, told by a pointer.
        marks: What is special of each. Empty texts are nothing.
        good: From here on values are good; a line says so.
        most: The top; what is larger has no bar.
        width: Width of the drawing in its own units; it fills the place that it is given.
    """
    series = [one for one in series if known(one[2])]
    values = [min(v, most) for _, _, row in series for v in row if math.isfinite(min(v, most))]
    low, high = span([*values, *([] if math.isnan(good) else [good])], zero=True)
    count = max((len(row) for _, _, row in series), default=0)
    x = Axis(0.5, max(count, 1) + 0.5, _LEFT, width - _RIGHT)
    y = Axis(low, high, 280 - _BOTTOM, _TOP)
    parts = [_axes(x, y, x_label, y_label, whole=True)]
    room = (x(2) - x(1)) / max(len(series), 1) * 0.8
    for index, (style, what, row) in enumerate(series):
        for place, value in enumerate(row):
            if math.isnan(value) or value >= high:
                continue
            left = x(place + 1) + room * (index - len(series) / 2)
            mark = f" ({marks[place]})" if marks and marks[place] else ""
            said = f"{names[place]}: {what} {short(float(f'{value:.4g}'))}{mark}"
            kind = f"hanging {style} {'marked' if mark else ''}".split()
            parts.append(
                f'<rect class="{escape(" ".join(kind))}" x="{left:.1f}" y="{_TOP}" '
                f'width="{max(min(room, 14) - 0.6, 0.6):.1f}" '
                f'height="{max(y(max(value, low)) - _TOP, 0):.1f}">'
                f"<title>{escape(said)}</title></rect>"
            )
    parts.append(_good(x, y, good))
    described = "; ".join(_said(row, what) for _, what, row in series)
    return _svg(width, 280, title, described, parts)


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


def _good(x: Axis, y: Axis, good: float) -> str:
    """The line from which on values are good, if there is one."""
    if math.isnan(good):
        return ""
    place = y(good)
    return (
        f'<line class="good" x1="{x.start}" x2="{x.end}" y1="{place:.1f}" y2="{place:.1f}"/>'
        f'<text class="good" text-anchor="end" x="{x.end - 6}" y="{place - 7:.1f}">'
        f"good from {escape(short(good))}</text>"
    )


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
