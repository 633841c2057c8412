"""What a page knows by itself."""

import pytest

from zqc.report.html.page import ClassRow, Picture, Shape

BOX = (0.0, 0.0, 1.0, 1.0)


def test_counts_of_a_picture():
    """Kept and lost boxes are those of the float model, new ones of the quantized model."""
    states = [Shape(BOX, state=state) for state in ("kept", "kept", "lost", "new", "")]
    picture = Picture("a", "", 1, 1, tuple(states), (*states[:1], states[3]), tuple(states))
    assert (picture.kept, picture.lost, picture.new) == (2, 1, 1)


def test_difference_of_a_class():
    """Less is worse."""
    assert ClassRow("a", ap_float=0.8, ap_quantized=0.75).difference == pytest.approx(-0.05)
