"""Pictures in text: what is decoded is what was given, and no larger than needed."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from zqc.report.html.images import LONGEST, picture_uri


def decoded(uri):
    """The picture in a data URI."""
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_come_back(channels):
    """A smooth picture comes back within what a JPEG loses, grey or RGB."""
    ramp = np.linspace(0, 255, 40)[:, None, None] * np.ones((1, 30, channels))
    found = np.asarray(decoded(picture_uri(ramp.astype(np.uint8)))).reshape(40, 30, channels)
    assert np.abs(found - ramp).max() < 6


@pytest.mark.parametrize(
    ("size", "expected"), [((900, 1800), (640, 320)), ((5000, 2), (1, 640)), ((10, 20), (20, 10))]
)
def test_large_ones_are_made_smaller(size, expected):
    """The longer side has 640 pixels at most, in proportion; small ones keep their size."""
    assert LONGEST == 640
    assert decoded(picture_uri(np.zeros((*size, 3), np.uint8))).size == expected
