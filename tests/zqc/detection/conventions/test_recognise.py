"""Output conventions: recognised by shape, decoded to known boxes."""

from pathlib import Path

import numpy as np
import pytest

from zqc.detection.boxes import iou_matrix, to_picture
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import read_anchors, recognise
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.conventions.yolo import Yolo
from zqc.detection.conventions.yolov3 import YoloV3Tiny
from zqc.errors import OptionError
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.runtime.session import load

SHARED = Path(__file__).parents[5] / "shared"
# The three people of the Penn-Fudan picture: x, y, width, height as its annotation gives them.
PEOPLE = np.array([[96, 134, 86, 284], [286, 113, 72, 219], [363, 120, 74, 209]], float)


def with_anchors(shapes, height: int, width: int, path: Path | None) -> Facts:
    """What is known of a detector, with the anchors of a file."""
    anchors = None if path is None else read_anchors(path)
    return Facts(shapes, height, width, anchors=anchors, anchors_path=path)


def logit(p: float) -> float:
    """Return the inverse of the sigmoid."""
    return float(np.log(p / (1 - p)))


@pytest.mark.parametrize(
    ("shapes", "size", "expected"),
    [
        ({"o": (1, 84, 8400)}, 640, Yolo("o", 80)),
        ({"o": (2, 14, 756)}, 192, Yolo("o", 10)),
        ({"o": (1, 6, 34000)}, 640, Yolo("o", 2)),
        ({"o": (1, 8400, 84)}, 640, None),
        ({"o": (1, 84, 8401)}, 640, None),
        ({"o": (1, 1000)}, 224, None),
        ({"a": (1, 84, 8400), "b": (1, 32, 160, 160)}, 640, None),
        (
            {"a": (1, 255, 13, 13), "b": (1, 255, 26, 26)},
            416,
            YoloV3Tiny((("a", 32), ("b", 16)), 80),
        ),
        (
            {"a": (1, 255, 26, 26), "b": (1, 255, 13, 13)},
            416,
            YoloV3Tiny((("a", 16), ("b", 32)), 80),
        ),
        ({"a": (1, 255, 26, 26), "b": (1, 255, 52, 52)}, 416, None),
        ({"a": (1, 254, 13, 13), "b": (1, 254, 26, 26)}, 416, None),
        ({"a": (1, 10, 4), "b": (1, 10, 2)}, 300, None),
    ],
)
def test_shapes_decide_on_the_convention(shapes, size, expected):
    """Each rule of the module, and near misses of it."""
    assert recognise(Facts(shapes, size, size)) == expected


def test_yolo_decodes_centres_and_classes():
    """One box per picture with a known place and class comes out of N x (4 + C) x A."""
    output = np.zeros((2, 7, 30), np.float32)
    output[0, :, 3] = [50, 40, 20, 10, 0, 0.75, 0]
    output[1, :, 5] = [10, 10, 4, 4, 0, 0, 0.5]
    first, second = Yolo("o", 3).decode({"o": output})
    assert first.boxes.tolist() == [[40, 35, 60, 45]]
    assert (first.labels.tolist(), first.scores.tolist()) == ([1], [0.75])
    assert (second.labels.tolist(), second.boxes.tolist()) == ([2], [[8, 8, 12, 12]])


@pytest.mark.parametrize(
    ("head", "row", "column", "anchor", "width", "height"),
    [("coarse", 4, 9, 1, 135, 169), ("fine", 20, 3, 0, 23, 27), ("fine", 1, 2, 2, 81, 82)],
)
def test_yolov3tiny_decodes_cells_and_anchors(head, row, column, anchor, width, height):
    """Raw zeros mean the middle of the cell and the size of the anchor."""
    outputs = {
        name: np.full((1, 21, size, size), -20, np.float32)
        for name, size in (("coarse", 13), ("fine", 26))
    }
    cell = np.array([0, 0, 0, np.log(2), logit(0.9), -20, logit(0.8)], np.float32)
    outputs[head][0, anchor * 7 : anchor * 7 + 7, row, column] = cell
    shapes = {name: value.shape for name, value in outputs.items()}
    convention = recognise(Facts(shapes, 416, 416))
    assert convention is not None
    [found] = convention.decode(outputs)
    stride = 32 if head == "coarse" else 16
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    np.testing.assert_allclose(
        found.boxes, [[x - width / 2, y - height, x + width / 2, y + height]], rtol=1e-5
    )
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.72], abs=1e-6)


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


def test_missing_and_foreign_anchor_files_are_named(tmp_path):
    """A file that is not there or not an array is an OptionError with its name."""
    (tmp_path / "foreign.npy").write_text("x")
    for name in ("missing.npy", "foreign.npy"):
        with pytest.raises(OptionError, match=name):
            recognise(with_anchors({"b": (1, 1, 4)}, 8, 8, tmp_path / name))


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="real detectors are not here")
@pytest.mark.parametrize(
    ("model", "anchors", "input_format", "size"),
    [
        (
            "ssdlite_mnv2_person_bn",
            "ssdlite_mnv2_person_anchors.npy",
            InputFormat.from_range(-1, 1),
            300,
        ),
        ("yolov3tiny_coco_bn", None, InputFormat(), 416),
    ],
)
def test_real_detectors_find_real_people(model, anchors, input_format, size):
    """All three labelled people are found with IoU above 0.8, and few other things."""
    runner = load(SHARED / "models" / f"{model}.onnx", threads=2)
    shapes = {o.name: tuple(o.shape) for o in runner.session.get_outputs()}
    path = None if anchors is None else SHARED / "models" / anchors
    convention = recognise(with_anchors(shapes, size, size, path))
    assert convention is not None
    images = open_images(
        SHARED / "images" / "street" / "FudanPed00054.png",
        channels=3,
        height=size,
        width=size,
        input_format=input_format,
        mode=convention.mode,
    )
    [(tensors, [placement])] = images.placed_batches(1)
    [found] = convention.decode(runner({"images": tensors}))
    people = found.above(0.3)
    boxes = to_picture(people.boxes[people.labels == 0], placement)
    truth = np.concatenate([PEOPLE[:, :2], PEOPLE[:, :2] + PEOPLE[:, 2:]], axis=1)
    assert (iou_matrix(truth, boxes).max(axis=1) > 0.8).all()
    assert len(boxes) <= 5
