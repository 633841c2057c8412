"""Output conventions: the first that knows its own is taken, and where none does it is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from zqc.detection.boxes import iou_matrix, to_picture
from zqc.detection.conventions.anchors_file import read_anchors
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import CONVENTIONS, class_names, recognise, unknown
from zqc.detection.parts import output_parts
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


def test_families_have_names_of_their_own():
    """A description names them."""
    names = [family.name for family in CONVENTIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("shapes", "size"),
    [
        ({"o": (1, 1000)}, 224),
        ({"a": (1, 10, 4), "b": (1, 10, 2)}, 300),
        ({"a": (1, 84, 8400), "b": (1, 84, 8400)}, 640),
        ({"a": (1, 255, 13, 13), "b": (1, 255, 26, 26)}, 416),
        ({"o": (1, 25200, 85)}, 640),
        ({"o": ()}, 640),
        ({}, 640),
    ],
)
@pytest.mark.parametrize("task", ["", "detect", "segment", "pose", "obb", "classify", "else"])
def test_what_is_not_known_is_not_read(shapes, size, task):
    """Shapes that several things have, and those that nothing has, whatever the file says."""
    metadata = {"task": task, "kpt_shape": "[17, 3]"} if task else {}
    assert recognise(Facts(shapes, size, size, metadata=metadata)) is None


def test_what_nothing_reads_is_said_with_a_remedy():
    """The outputs with their sizes, what the file says of itself, and what to do."""
    facts = Facts({"o": (1, 8, 9)}, 64, 64)
    assert "outputs (o 1 x 8 x 9)" in unknown(facts)
    assert "--decoder FILE.toml" in unknown(facts)
    posing = Facts({"o": (1, 8, 9)}, 64, 64, metadata={"task": "pose"})
    assert "although the file says that its task is 'pose'" in unknown(posing)
    sorting = Facts({"o": (1, 8)}, 64, 64, metadata={"task": "classify"})
    assert "classifies pictures" in unknown(sorting)


def test_names_of_classes_are_those_of_the_file():
    """Unless the user gives others."""
    facts = Facts({"o": (1, 6, 84)}, 64, 64, metadata={"task": "detect", "names": "['a', 'b']"})
    convention = recognise(facts)
    assert convention is not None
    assert class_names(convention, facts) == ("a", "b")


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
    graph_model = ir.load(SHARED / "models" / f"{model}.onnx")
    convention = recognise(
        replace(
            with_anchors(shapes, size, size, path),
            graph=graph_model.graph,
            parts=output_parts(graph_model),
        )
    )
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
