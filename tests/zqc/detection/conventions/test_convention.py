"""What is known of a detector before it has seen a picture."""

import pytest

from zqc.detection.conventions.convention import Facts


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ("['cat', 'dog']", ("cat", "dog")),
        ("{1: 'dog'}", ()),
        ("{0: 1}", ()),
        ("{0: 'cat'", ()),
        ("cat", ()),
        ("", ()),
    ],
)
def test_names_of_classes_are_read_or_left_out(written, names):
    """Ultralytics writes a Python dict; anything else names no classes, and raises nothing."""
    assert Facts({}, 8, 8, metadata={"names": written}).names == names


def test_outputs_are_written_for_messages():
    """Each with its sizes."""
    assert Facts({"a": (1, 2), "b": (3,)}, 8, 8).shape_text() == "a 1 x 2, b 3"
