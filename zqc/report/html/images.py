"""Pictures inside a file of text: data URIs, no larger than a page shows them."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 640
"""Pixels of the longer side of a picture that boxes are drawn in, at most."""

SMALL = 160
"""The same of one that only stands among others."""

_QUALITY = 85


def picture_uri(pixels: NDArray[np.uint8], longest: int = LONGEST) -> str:
    """Return a picture as the data URI of a JPEG.

    Args:
        pixels: Shape (height, width, channels) with 1 or 3 channels, RGB.
        longest: Pixels of the longer side, at most.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    shrink = min(1.0, longest / max(image.size))
    if shrink < 1:
        width, height = (max(1, round(side * shrink)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
