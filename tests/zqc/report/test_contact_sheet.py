"""The contact sheet: every picture at its place."""

import numpy as np
import pytest

from zqc.report.contact_sheet import MOST, contact_sheet


def coloured(count, height, width, channels):
    """Pictures of one colour each, no two alike and none of the colour of the ground."""
    colours = np.arange(count)[:, None] * 3 + np.arange(channels)
    shape = (count, height, width, channels)
    return np.broadcast_to(colours[:, None, None], shape).astype(np.uint8)


def colours_in_order(sheet):
    """The colours of a sheet but the ground, as they come row by row."""
    pixels = np.asarray(sheet).reshape(-1, len(sheet.getbands()))
    found = dict.fromkeys(map(tuple, pixels.tolist()))
    return [colour for colour in found if colour != (255,) * len(colour)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 9, 64])
def test_every_picture_is_there(count, channels):
    """Pictures follow each other row by row, RGB or grey."""
    pixels = coloured(count, 6, 9, channels)
    sheet = contact_sheet(pixels)
    assert sheet.mode == ("L" if channels == 1 else "RGB")
    assert colours_in_order(sheet) == [tuple(picture[0][0]) for picture in pixels.tolist()]


def test_pixels_are_kept():
    """A small picture is shown as it is."""
    pixels = np.random.default_rng(0).integers(0, 255, (1, 20, 30, 3), np.uint8)
    sheet = np.asarray(contact_sheet(pixels))
    assert np.array_equal(sheet[4:-4, 4:-4], pixels[0])


def test_sheets_do_not_grow_without_end():
    """Of many pictures the first 64 are shown, and large ones smaller, in proportion."""
    sheet = contact_sheet(coloured(70, 2, 2, 1))
    assert len(colours_in_order(sheet)) == MOST == 64
    wide, high = contact_sheet(coloured(1, 320, 640, 3)).size
    assert (wide - 8, high - 8) == (256, 128)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_title(channels):
    """It stands in a line of its own above the pictures, which stay as they are."""
    pixels = np.full((4, 60, 90, channels), 200, np.uint8)
    plain, titled = np.asarray(contact_sheet(pixels)), np.asarray(contact_sheet(pixels, "a 层"))
    above = len(titled) - len(plain)
    assert np.array_equal(titled[above:], plain)
    assert titled[:above].min() < 100
