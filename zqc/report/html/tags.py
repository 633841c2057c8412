"""Where the names of boxes stand in a picture, so that few of them cover each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.report.html.page import Shape

_NEAR_X, _NEAR_Y = 0.25, 0.05
"""Names whose places are nearer than these shares of the picture would cover each other."""

_TOP, _BOTTOM, _RIGHT = 0.08, 0.92, 0.66
"""Beyond these shares of the picture there is no room above, below, or to the right."""


@dataclass(frozen=True)
class Tag:
    """The name of one box.

    Attributes:
        shape: The box.
        side: ``left`` or ``right``: the end of the picture that ``offset`` is counted from.
        offset: In percent of the picture's width.
        top: In percent of its height.
        above: Whether it stands above this height.
        row: How many names stand between it and its place.
    """

    shape: Shape
    side: str
    offset: float
    top: float
    above: bool
    row: int


def place_tags(shapes: Sequence[Shape], width: int, height: int) -> list[Tag]:
    """Place the names of boxes: above them, or below those that one model alone finds.

    Args:
        shapes: The boxes.
        width: Width of the picture in pixels.
        height: Height likewise.
    """
    tags: list[Tag] = []
    for shape in shapes:
        x1, y1, x2, y2 = shape.box
        alone = shape.state in ("lost", "new")
        edge = _share(y2 if alone else y1, height)
        above = edge > (_BOTTOM if alone else _TOP)
        is_right = _share(x1, width) > _RIGHT
        offset = 1 - _share(x2, width) if is_right else _share(x1, width)
        side = "right" if is_right else "left"
        near = [
            tag
            for tag in tags
            if tag.side == side
            and tag.above == above
            and abs(tag.offset / 100 - offset) < _NEAR_X
            and abs(tag.top / 100 - edge) < _NEAR_Y
        ]
        taken = {tag.row for tag in near}
        row = next(row for row in range(len(taken) + 1) if row not in taken)
        tags.append(Tag(shape, side, 100 * offset, 100 * edge, above, row))
    return tags


def _share(place: float, size: int) -> float:
    return min(max(place / size, 0.0), 1.0)
