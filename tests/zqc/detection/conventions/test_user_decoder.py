"""Decoders that users write: loaded from where they are, and what they do wrong is said."""

import numpy as np
import pytest

from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import class_names, recognise
from zqc.detection.nms import Selection
from zqc.errors import OptionError

FACTS = Facts({"o": (2, 3, 6)}, 100, 200)
OUTPUTS = {"o": np.arange(36, dtype=np.float32).reshape(2, 3, 6)}
DECODE = """
import numpy as np

CLASSES = ["cat", "dog"]

def decode(outputs, height, width):
    rows = outputs["o"] / 40
    return [(one[:, :4] * [width, height, width, height], one[:, 4], [0, 1, 0]) for one in rows]
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module into the current folder."""
    monkeypatch.chdir(tmp_path)

    def written(text, name="mine.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return written


@pytest.mark.parametrize("source", ["mine:decode", "mine.py:decode", "FILE:decode"])
def test_a_function_is_loaded_and_asked(write, source):
    """A module of the current folder, or a file anywhere; what it finds comes out best first."""
    path = write(DECODE)
    convention = recognise(FACTS, source.replace("FILE", str(path)))
    assert (convention.name, convention.task, convention.classes) == ("decoder", "detect", 2)
    assert class_names(convention, FACTS) == ("cat", "dog")
    first, second = convention.decode(OUTPUTS)
    assert first.scores.tolist() == pytest.approx([16 / 40, 10 / 40, 4 / 40])
    assert first.labels.tolist() == [0, 1, 0]
    assert first.boxes[2].tolist() == pytest.approx([0, 2.5, 10, 7.5])
    assert len(second) == 3
    few = Selection(score_threshold=0.3, detections=2)
    assert [len(one) for one in convention.decode(OUTPUTS, few)] == [1, 2]


def test_a_module_may_import_what_stands_beside_it(write):
    """Of a file in another folder, too."""
    write("SCALE = 2", "folder/beside.py")
    write(
        "from beside import SCALE\ndef decode(o, h, w): return [([], [], [])] * SCALE",
        "folder/mine.py",
    )
    assert [len(d) for d in recognise(FACTS, "folder/mine.py:decode").decode(OUTPUTS)] == [0, 0]


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("decode", "", "neither module:function"),
        ("nowhere:decode", "", "no module 'nowhere'"),
        ("nowhere.py:decode", "", "no file nowhere.py"),
        ("mine:decod", DECODE, "no function 'decod'; it has decode"),
        ("mine:CLASSES", DECODE, "no function 'CLASSES'"),
        ("mine:decode", "def decode(:", "SyntaxError in line 1 of .*mine.py"),
        ("mine:decode", "\nimport nothing_like_it", "ModuleNotFoundError in line 2 of .*mine.py"),
        ("mine:decode", "raise SystemExit(3)", "SystemExit in line 1 of .*mine.py: 3"),
        ("mine:decode", "CLASSES = [1]\ndef decode(o, h, w): ...", "must be a list of names"),
    ],
)
def test_what_cannot_be_loaded_is_named(write, source, text, message):
    """The thing, and where it went wrong."""
    write(text)
    with pytest.raises(OptionError, match=message):
        recognise(FACTS, source)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('x')", "mine:decode failed: KeyError in line 2 of .*mine.py: 'x'"),
        ("return 1 / 0", "ZeroDivisionError in line 2"),
        ("return None", "TypeError"),
        ("return []", "0 items for 2 pictures"),
        ("return [1, 2]", "one .boxes, scores, labels. for each picture"),
        ("return [([[1, 2, 3]], [1], [0])] * 2", r"boxes \(1, 3\)"),
        ("return [([[1, 2, 3, 4]], [1, 2], [0])] * 2", r"scores \(2,\)"),
        ("return [([[1, 2, 3, float('nan')]], [1], [0])] * 2", "finite numbers"),
        ("return [([[1, 2, 3, 4]], [1], ['cat'])] * 2", "finite numbers"),
        ("return [([[1, 2, 3, 4]], [1], [-1])] * 2", "such as -1"),
        ("return [([[1, 2, 3, 4]], [1], [0.5])] * 2", "such as 0.5"),
    ],
)
def test_what_a_function_does_wrong_is_said(write, body, message):
    """No error of the user's code comes through as it is."""
    write(f"def decode(outputs, height, width):\n    {body}")
    with pytest.raises(OptionError, match=message):
        recognise(FACTS, "mine:decode").decode(OUTPUTS)
