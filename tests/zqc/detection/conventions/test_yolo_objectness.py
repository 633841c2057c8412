"""YOLOv5 and YOLOv7 with objectness; the reference is written out in torch and torchvision."""

import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, facts_of, is_found, reference
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_objectness import YoloObjectness


def network(*, heads=False, scores="Sigmoid"):
    """Three anchors in 21 cells, each with a box in pixels, objectness and 3 classes."""
    outputs = ["float[1, 63, 8] output"]
    lines = [
        "raw = Conv<strides = [32, 32]>(images, w)",
        "rows = Reshape(raw, shape)",
        "box, rest = Split<axis = 2>(rows, sizes)",
        "pixels = Mul(box, stride)",
        f"scores = {scores}(rest)",
        "output = Concat<axis = 2>(pixels, scores)",
    ]
    for stride in (8, 16, 32) if heads else ():
        side = 32 // stride
        outputs.append(f"float[1, 3, {side}, {side}, 8] head{stride}")
        lines.append(f"h{stride} = Conv<strides = [{stride}, {stride}]>(images, v)")
        lines.append(f"r{stride} = Reshape(h{stride}, s{stride})")
        lines.append(f"head{stride} = Transpose<perm = [0, 1, 3, 4, 2]>(r{stride})")
    shapes = ", ".join(f"int64[5] s{s} = {{1, 3, 8, {32 // s}, {32 // s}}}" for s in (8, 16, 32))
    return f"""(float[1, 3, 32, 32] images, float[504, 3, 1, 1] w, float[24, 3, 1, 1] v)
      => ({", ".join(outputs)})
      <int64[3] shape = {{1, 63, 8}}, int64[2] sizes = {{4, 4}}, float stride = {{8.0}}, {shapes}>
      {{ {"  ".join(lines)} }}"""


@pytest.mark.parametrize("heads", [False, True])
def test_a_network_is_known_and_decoded(heads):
    """A score is objectness times class; raw heads beside it, as old exports have, are left."""
    convention = recognise(facts_of(network(heads=heads), size=32))
    assert convention == YoloObjectness("output", 3)
    output, expected = reference("yolov5", "yolov5_found")
    [found] = convention.decode({"output": output}, SELECTION)
    assert is_found(found, expected)


def test_names_are_enough():
    """Exports of YOLOv5 whose graph cannot be traced give the names of the classes."""
    shapes = {"o": (1, 25200, 85)}
    assert recognise(Facts(shapes, 640, 640)) is None
    named = Facts(shapes, 640, 640, metadata={"names": repr([str(n) for n in range(80)])})
    assert recognise(named) == YoloObjectness("o", 80)
    assert recognise(Facts(shapes, 640, 640, metadata={"names": "['person']"})) is None


@pytest.mark.parametrize(
    ("shape", "size", "classes"),
    [
        ((1, 102000, 85), 1280, 80),  # four strides
        ((1, 25200, 57), 640, None),  # one person and 17 keypoints
        ((1, 8400, 85), 640, None),
        ((1, 25200, 5), 640, None),
    ],
)
def test_the_shape_must_fit_the_grids(shape, size, classes):
    """Three anchors in each cell, of three strides or four."""
    names = repr([str(n) for n in range(80)])
    found = recognise(Facts({"o": shape}, size, size, metadata={"names": names}))
    assert found == (None if classes is None else YoloObjectness("o", classes))


def test_columns_that_are_no_scores_are_not_classes():
    """Behind the box stands something that is not squashed: nothing is known of it."""
    assert recognise(facts_of(network(scores="Identity"), size=32)) is None
