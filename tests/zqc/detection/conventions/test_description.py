"""What may stand in a description, and what is said of the rest."""

from pathlib import Path

import pytest

from zqc.detection.conventions.description import Description, read_description
from zqc.errors import OptionError


def read(tmp_path, text):
    """Read a description from a file."""
    (tmp_path / "d.toml").write_text(text)
    return read_description(tmp_path / "d.toml")


def test_every_key_is_read(tmp_path):
    """Keys are the fields; lists become tuples and a file of anchors stands beside it."""
    path = tmp_path / "d.toml"
    assert read(tmp_path, "") == Description(path=path)
    assert read(
        tmp_path,
        'boxes = "b"\nscores = "s"\nlabels = "l"\nbox_format = "yxyx"\nunits = "relative"\n'
        'activation = "softmax"\nbackground = -1\nobjectness = true\ncandidates = 2\n'
        'nms = false\nclasses = ["cat"]\nfit = "stretch"',
    ) == Description(
        path=path,
        boxes="b",
        scores="s",
        labels="l",
        box_format="yxyx",
        units="relative",
        activation="softmax",
        background=-1,
        objectness=True,
        candidates=2,
        nms=False,
        classes=("cat",),
        fit="stretch",
    )
    told = read(tmp_path, 'family = "f"\ntask = "pose"\nkeypoints = [17, 3]\nanchors = [[1, 2.5]]')
    assert told == Description(
        path=path, family="f", task="pose", keypoints=(17, 3), anchors=((1, 2.5),)
    )
    assert read(tmp_path, 'family = "ssd"\nanchors = "a.npy"').anchors == tmp_path / "a.npy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("boxes", " is not TOML"),
        ('box = "b"', "unknown key 'box'; did you mean boxes?"),
        ("zzz = 1", "unknown key 'zzz'; known: boxes, scores"),
        ('box_format = "xyx"', 'box_format is "xyx", but must be one of "xyxy", "yxyx"'),
        ("candidates = 3", "must be one of 1, 2"),
        ("candidates = true", "must be one of 1, 2"),
        ("nms = 1", "must be one of true, false"),
        ("boxes = 1", "boxes is 1, but must be a name"),
        ("background = 0.5", "number of a column"),
        ("classes = 'cat'", "a list of names"),
        ('family = "f"\nkeypoints = [17, 4]', "2 or 3"),
        ('family = "f"\nanchors = [[1, 2, 3]]', "width, height"),
        ('family = "f"\nanchors = [[0, 2]]', "width, height"),
        ('family = "f"\nanchors = []', "width, height"),
        ('family = "f"\nunits = "pixels"', "units cannot stand with a family"),
        ('boxes = "b"\nanchors = [[1, 2]]', "anchors cannot stand without a family"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, text, message):
    """Each message names the file and the key, and says what can be."""
    with pytest.raises(OptionError, match=f"d.toml.*{message}"):
        read(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """Nor is one that is no text."""
    with pytest.raises(OptionError, match=r"cannot read the description .*none.toml"):
        read_description(Path(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match=r"the description .*binary.toml is no text in UTF-8"):
        read_description(tmp_path / "binary.toml")
