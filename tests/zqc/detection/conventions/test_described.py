"""Detectors that the user describes."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, is_found, reference
from zqc.detection.conventions.anchor_heads import AnchorHeads
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import class_names, recognise
from zqc.errors import OptionError

SHAPES = {"loc": (1, 5, 4), "conf": (1, 5, 3)}
BOX = {
    "xyxy": [10, 20, 30, 60],
    "yxyx": [20, 10, 60, 30],
    "xywh": [10, 20, 20, 40],
    "cxcywh": [20, 40, 20, 40],
}
"""One box of an input of 100 x 200 (height, width) in all formats."""


@pytest.fixture
def describe(tmp_path):
    """Recognise a detector with a description in a file."""

    def described(text, shapes=None, height=100, width=200, **options):
        (tmp_path / "d.toml").write_text(text)
        facts = Facts(shapes or SHAPES, height, width, **options)
        return recognise(facts, str(tmp_path / "d.toml"))

    return described


def outputs(box, scores):
    """Five candidates, of which the third is something."""
    values = {"loc": np.zeros((1, 5, 4)), "conf": np.full((1, 5, 3), -20.0)}
    values["loc"][0, 2], values["conf"][0, 2] = box, scores
    return values


@pytest.mark.parametrize("units", ["pixels", "relative"])
@pytest.mark.parametrize("form", BOX)
def test_boxes_of_every_format(describe, form, units):
    """Two corners, a corner and the size, or the centre and the size; in pixels or not."""
    scale = np.ones(4)
    if units == "relative":
        scale = np.array([100, 200, 100, 200] if form == "yxyx" else [200, 100, 200, 100])
    convention = describe(f'box_format = "{form}"\nunits = "{units}"\nactivation = "sigmoid"')
    [found] = convention.decode(outputs(np.array(BOX[form]) / scale, [-20, 0, -20]))
    assert found.boxes.tolist() == [pytest.approx([10, 20, 30, 60], rel=1e-6)]
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], [0.5])


def test_five_lines_describe_a_detector(describe):
    """Names of outputs, the format, the softmax and its background."""
    convention = describe(
        'boxes = "loc"\nscores = "conf"\nbox_format = "cxcywh"\nactivation = "softmax"\n'
        'background = 0\nclasses = ["cat", "dog"]\nfit = "stretch"'
    )
    assert (convention.name, convention.task, convention.classes) == ("described", "detect", 2)
    assert convention.mode == "stretch"
    assert class_names(convention, Facts(SHAPES, 100, 200)) == ("cat", "dog")
    values = outputs(BOX["cxcywh"], np.log([0.25, 0.125, 0.625]))
    values["conf"][0, :2] = values["conf"][0, 3:] = [20, 0, 0]
    [found] = convention.decode(values)
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.625, 0.125])


def test_one_output_with_objectness_in_columns(describe):
    """A YOLOv5 written the other way round is found as by its reference."""
    output, expected = reference("yolov5", "yolov5_found")
    convention = describe(
        'boxes = "o"\nscores = "o"\nbox_format = "cxcywh"\nobjectness = true\ncandidates = 2',
        {"o": (1, 8, 63)},
        32,
        32,
    )
    assert convention.classes == 3
    [found] = convention.decode({"o": output.transpose(0, 2, 1)}, SELECTION)
    assert is_found(found, expected)


def test_nothing_is_suppressed_where_it_is_done_already(describe):
    """The same box twice: one with suppression, two without."""
    values = outputs(BOX["xyxy"], [0.5, 0, 0])
    values["loc"][0, 3], values["conf"][0, 3] = values["loc"][0, 2], [0.25, 0, 0]
    assert [
        len(describe("").decode(values)[0]),
        len(describe("nms = false").decode(values)[0]),
    ] == [
        1,
        2,
    ]


@pytest.mark.parametrize("batch", [(), (1,)])
def test_selected_detections_with_labels(describe, batch):
    """Boxes, scores and classes in three outputs, with a batch or without."""
    shapes = {"b": (*batch, 2, 4), "s": (*batch, 2), "l": (*batch, 2)}
    convention = describe(
        'boxes = "b"\nscores = "s"\nlabels = "l"', shapes, metadata={"names": "['a', 'b', 'c']"}
    )
    assert convention.classes == 3
    values = {
        "b": np.array([BOX["xyxy"], BOX["xyxy"]], np.float32),
        "s": np.array([0.25, 0.5], np.float32),
        "l": np.array([2, 2]),
    }
    [found] = convention.decode({n: v.reshape(*batch, *v.shape) for n, v in values.items()})
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.labels.tolist() == [2, 2]


def test_raw_heads_are_described_by_their_family(describe):
    """The published anchors, or those that the file gives."""
    names = ("yolov3_8", "yolov3_16", "yolov3_32")
    arrays = dict(zip(names, reference(*names), strict=True))
    shapes = {name: array.shape for name, array in arrays.items()}
    convention = describe('family = "yolov3"', shapes, 32, 32)
    [found] = convention.decode(arrays, SELECTION)
    assert is_found(found, *reference("yolov3_found"))
    anchors = [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119]]
    anchors += [[116, 90], [156, 198], [373, 326]]
    again = describe(f'family = "yolov3"\nanchors = {anchors}', shapes, 32, 32)
    [found] = again.decode(arrays, SELECTION)
    assert is_found(found, *reference("yolov3_found"))
    other = describe('family = "yolov7"', shapes, 32, 32).convention
    assert isinstance(other, AnchorHeads)
    assert other.sizes == "square"
    assert {h.output: h.anchors[0] for h in other.heads}["yolov3_32"] == (142, 110)


def test_a_family_that_the_shape_does_not_show(describe):
    """What could be classes or keypoints is what the user says it is."""
    shape = {"o": (1, 56, 8400)}
    assert describe('family = "yolo"', shape, 640, 640).classes == 52
    pose = describe('family = "yolo-pose"\nkeypoints = [17, 3]', shape, 640, 640)
    assert (pose.task, pose.classes) == ("pose", 1)
    selected = {"o": (1, 300, 7)}
    found = describe('family = "yolo-end-to-end"\ntask = "obb"', selected, 640, 640)
    assert found.task == "obb"


def test_an_ssd_is_described_with_its_anchors(describe, tmp_path):
    """The array stands beside the file."""
    np.save(tmp_path / "anchors.npy", np.full((5, 4), 0.5, np.float32))
    convention = describe('family = "ssd"\nanchors = "anchors.npy"')
    assert convention.convention.anchors.shape == (5, 4)
    assert convention.classes == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('boxes = "x"', "no output 'x' for boxes in loc 1 x 5 x 4, conf 1 x 5 x 3"),
        ('scores = "x"', "no output 'x' for scores"),
        ('boxes = "conf"\nscores = "loc"', "boxes 'conf' are not N x A x 4"),
        ("candidates = 2", "name the output of the boxes"),
        ('boxes = "loc"\nscores = "loc"', "no column left"),
        ("background = 3", "no column 3 in scores of 3 columns"),
        ('classes = ["cat"]', "1 names, but the outputs are of 3 classes"),
        ('boxes = "loc"\nscores = "conf"\nlabels = "loc"', "not of as many candidates"),
        ('family = "yollo"', "family is .yollo., but must be one of .*ssd, ssdlite, .*yolo, "),
        ('family = "yolo"', "are not those of yolo"),
        ('family = "yolo"\nanchors = [[1, 2]]', "leave them out"),
        ('family = "ssd"\nanchors = "none.npy"', "cannot read the anchors"),
    ],
)
def test_what_does_not_fit_is_said(describe, text, message):
    """The file, the thing and the outputs that there are."""
    with pytest.raises(OptionError, match=f"d.toml: .*{message}"):
        describe(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('family = "yolov5"\nanchors = "a.npy"', "not a file"),
        ('family = "yolov5"\nanchors = [[1, 2], [3, 4]]', "2 anchors cannot be shared out among 3"),
        ('family = "yolov5"\nanchors = [[1, 2], [3, 4], [5, 6]]\nclasses = ["a"]', "1 names"),
    ],
)
def test_anchors_of_heads_must_fit(describe, text, message):
    """As many for each head, and written as sizes."""
    shapes = {f"h{stride}": (1, 21, 640 // stride, 640 // stride) for stride in (8, 16, 32)}
    with pytest.raises(OptionError, match=message):
        describe(text, shapes, 640, 640)


def test_heads_on_other_grids_are_refused(describe):
    """Strides must be a run."""
    shapes = {f"h{stride}": (1, 21, 640 // stride, 640 // stride) for stride in (8, 32)}
    with pytest.raises(OptionError, match="are not those of yolov5"):
        describe('family = "yolov5"', shapes, 640, 640)
