"""Names of boxes: inside of the picture, and not on each other."""

from zqc.report.html.page import Shape
from zqc.report.html.tags import place_tags


def tag(box, state="kept"):
    """Where the name of one box stands in a picture of 100 x 200."""
    [found] = place_tags([Shape(box, "a", 0.5, state)], 100, 200)
    return found.side, round(found.offset, 6), round(found.top, 6), found.above


def test_above_the_box():
    """At its left corner, above it."""
    assert tag((10, 100, 50, 150)) == ("left", 10, 50, True)


def test_inside_where_there_is_no_room():
    """Below the upper edge of a box at the top; to the right corner of one at the right."""
    assert tag((10, 2, 50, 150)) == ("left", 10, 1, False)
    assert tag((80, 100, 95, 150)) == ("right", 5, 50, True)


def test_below_if_alone():
    """Below a box that one model alone finds: there may be another one on it. Inside at the end."""
    assert tag((10, 100, 50, 150), "lost") == ("left", 10, 75, False)
    assert tag((10, 100, 50, 199), "new") == ("left", 10, 99.5, True)


def test_boxes_beyond_the_picture():
    """The name stays in the picture."""
    assert tag((-20, -30, 50, 150)) == ("left", 0, 0, False)
    assert tag((90, 100, 130, 150)) == ("right", 0, 50, True)


def test_names_at_one_place_stand_in_rows():
    """Three names at one place, and one that is far from them."""
    shapes = [Shape((10, 100, 50, 150))] * 3 + [Shape((10, 20, 50, 60))]
    assert [found.row for found in place_tags(shapes, 100, 200)] == [0, 1, 2, 0]
