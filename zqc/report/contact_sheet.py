"""Many small pictures on one sheet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST = 64
"""Pictures on a sheet."""

_SIDE = 256
"""Pixels of the longer side, at most: larger pictures are made smaller."""

_GAP = 4
_GROUND = 255
_TITLE, _LETTERS = 24, 15
"""Pixels: of the line above the pictures, and of its letters."""


def contact_sheet(pixels: NDArray[np.uint8], title: str = "") -> Image.Image:
    """Put pictures side by side, row by row, in the order that they have.

    Args:
        pixels: Shape (N, height, width, channels) with 1 or 3 channels, RGB; of more than ``MOST``
            pictures the first ones are shown.
        title: What stands above them, in letters that every font has; nothing by default.
    """
    shown = pixels[:MOST]
    count, height, width, channels = shown.shape
    shrink = min(1.0, _SIDE / max(height, width))
    cell = max(1, round(width * shrink)), max(1, round(height * shrink))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    above = _TITLE if title else 0
    size = (columns * (cell[0] + _GAP) + _GAP, above + rows * (cell[1] + _GAP) + _GAP)
    mode, ground = ("L", _GROUND) if channels == 1 else ("RGB", (_GROUND,) * 3)
    sheet = Image.new(mode, size, ground)
    for index, picture in enumerate(shown):
        image = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
        row, column = divmod(index, columns)
        place = (_GAP + column * (cell[0] + _GAP), above + _GAP + row * (cell[1] + _GAP))
        sheet.paste(image if shrink == 1 else image.resize(cell, Image.Resampling.BOX), place)
    if title:
        said = title.encode("ascii", "backslashreplace").decode()
        font = ImageFont.load_default(_LETTERS)
        ImageDraw.Draw(sheet).text(
            (_GAP, _GAP), said, fill=(0 if channels == 1 else (0, 0, 0)), font=font
        )
    return sheet
