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


@pytest.mark.parametrize(
    ("written", "keypoints"),
    [
        ("[17, 3]", (17, 3)),
        ("(5, 2)", (5, 2)),
        ("[17, 4]", None),
        ("[0, 3]", None),
        ("17", None),
        ("", None),
    ],
)
def test_keypoints_are_read_or_left_out(written, keypoints):
    """Their number and the values of each."""
    assert Facts({}, 8, 8, metadata={"kpt_shape": written}).keypoints == keypoints


@pytest.mark.parametrize(
    ("metadata", "selected"),
    [
        ({"end2end": "True"}, True),
        ({"end2end": "False"}, False),
        ({"args": "{'nms': True}"}, True),
        ({"args": "{'nms': None}"}, False),
        ({"args": "nms"}, False),
        ({}, False),
    ],
)
def test_whether_a_file_selects(metadata, selected):
    """By its head, or by what it was exported with."""
    assert Facts({}, 8, 8, metadata=metadata).selected is selected


def test_what_a_file_contradicts():
    """Its task and the number of its classes, where it gives them."""
    facts = Facts({}, 8, 8, metadata={"task": "pose", "names": "['a', 'b']"})
    assert facts.task == "pose"
    assert facts.may_be("pose", 2)
    assert not facts.may_be("pose", 3)
    assert not facts.may_be("detect", 2)
    assert Facts({}, 8, 8).may_be("obb", 7)
