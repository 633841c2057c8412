"""SSD with the anchors that the user gives."""

from pathlib import Path

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, facts_of, torchvision_heads
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.ssd import SsdLite
from zqc.errors import OptionError


def with_anchors(shapes, height: int, width: int, path: Path) -> Facts:
    """What is known of a detector, with the anchors of a file."""
    return Facts(shapes, height, width, anchors=read_anchors(path), anchors_path=path)


def test_ssdlite_decodes_relative_to_its_anchors(tmp_path):
    """Codes (10, 0, 5·log 2, 0) move an anchor down by its height and double that height."""
    anchors = np.array([[0.2, 0.5, 0.1, 0.4], [0.5, 0.5, 1, 1]], np.float32)
    np.save(tmp_path / "anchors.npy", anchors)
    outputs = {
        "scores": np.array([[[0.1, 0.0, 0.8], [0.9, 0.0, 0.0]]], np.float32),
        "codes": np.array([[[10, 0, 5 * np.log(2), 0], [0, 0, 0, 0]]], np.float32),
    }
    shapes = {name: value.shape for name, value in outputs.items()}
    convention = recognise(with_anchors(shapes, 100, 200, tmp_path / "anchors.npy"))
    assert isinstance(convention, SsdLite)
    assert (convention.boxes, convention.scores, convention.classes) == ("codes", "scores", 2)
    [found] = convention.decode(outputs)
    np.testing.assert_allclose(found.boxes, [[60, 20, 140, 40]], rtol=1e-5)
    assert found.labels.tolist() == [1]  # column 0 is background


@pytest.mark.parametrize(
    ("anchors", "shapes", "message"),
    [
        (np.zeros((9, 4)), {"b": (1, 10, 4), "s": (1, 10, 2)}, "9 anchors"),
        (np.zeros((10, 3)), {"b": (1, 10, 4), "s": (1, 10, 2)}, "A x 4"),
        (np.zeros((10, 4), int), {"b": (1, 10, 4), "s": (1, 10, 2)}, "finite floats"),
        (np.full((10, 4), np.nan), {"b": (1, 10, 4), "s": (1, 10, 2)}, "finite floats"),
        (np.zeros((10, 4)), {"o": (1, 84, 8400)}, "leave the anchors out"),
        (np.zeros((10, 4)), {"b": (1, 10, 4), "s": (1, 10, 1)}, "leave the anchors out"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(tmp_path, anchors, shapes, message):
    """Anchors are never ignored in silence."""
    np.save(tmp_path / "anchors.npy", anchors)
    with pytest.raises(OptionError, match=message):
        recognise(with_anchors(shapes, 300, 300, tmp_path / "anchors.npy"))


ANCHORS = np.array([[0.5, 0.25, 0.5, 0.25]] * 341 * 6, np.float32)
HEADS = {"bbox_regression": 4, "cls_logits": 6}


def test_the_heads_of_torchvision_are_logits_with_x_first():
    """Codes (10, 0, 0, 5·log 2) move an anchor to the right by its width and double its height."""
    model = torchvision_heads(HEADS, 6)
    convention = recognise(facts_of(model, anchors=ANCHORS, anchors_path=Path("a.npy")))
    assert isinstance(convention, SsdLite)
    assert (convention.x_first, convention.logits, convention.classes) == (True, True, 5)
    codes = np.zeros((1, len(ANCHORS), 4), np.float32)
    logits = np.zeros((1, len(ANCHORS), 6), np.float32)
    codes[0, 8] = [10, 0, 0, 5 * np.log(2)]
    logits[0, 8, 3] = np.log(15)  # of 20 in all
    [found] = convention.decode({"bbox_regression": codes, "cls_logits": logits}, ALL)
    np.testing.assert_allclose(found.boxes, [[48, 0, 80, 128]], rtol=1e-5)
    assert found.labels.tolist() == [2]
    assert found.scores.tolist() == pytest.approx([0.75], abs=1e-6)


def test_without_anchors_the_heads_of_an_ssd_are_not_known():
    """They are in no file."""
    assert recognise(facts_of(torchvision_heads(HEADS, 6))) is None


def test_logits_of_others_are_refused():
    """Softmax and sigmoid are both usual: the user is told, instead of one of them taken."""
    net = Builder()
    grid = net.grid(64)
    for name, columns in (("boxes", 4), ("scores", 6)):
        net.shaped(f"{name}_flat", net.conv(f"{name}_raw", grid, columns), 1, columns, 4)
        net.add(f"{name} = Transpose<perm=[0,2,1]>({name}_flat)")
        net.output(name)
    with pytest.raises(OptionError, match="'scores' are logits"):
        recognise(facts_of(net.model(), anchors=ANCHORS[:4], anchors_path=Path("a.npy")))


def test_landmarks_are_left_aside():
    """RetinaFace has x first, scores of two classes, and five landmarks."""
    shapes = {"loc": (1, 2046, 4), "conf": (1, 2046, 2), "landmarks": (1, 2046, 10)}
    found = recognise(Facts(shapes, 128, 128, anchors=ANCHORS, anchors_path=Path("a.npy")))
    assert isinstance(found, SsdLite)
    assert (found.boxes, found.scores, found.classes) == ("loc", "conf", 1)
    assert (found.x_first, found.logits) == (True, False)
