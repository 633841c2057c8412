"""Detections chosen in the graph, in the ways of several exporters."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, facts_of
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.selected import EfficientNms, MmDeploy, Paddle, TensorFlow

TENSORFLOW = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
EFFICIENT = ("num_dets", "det_boxes", "det_scores", "det_classes")
BOXES = np.array([[[8, 16, 32, 64], [0, 0, 4, 4], [1, 1, 2, 2]]], np.float32)
SCORES = np.array([[0.75, 0.625, 0.875]], np.float32)


def sets(names, *, classes="float", suffix=""):
    """Three boxes, in four outputs."""
    net = Builder()
    number, boxes, scores, labels = (f"{name}{suffix}" for name in names)
    net.shaped("all", net.conv("heads", net.grid(64), 3), 1, 3, 4)
    net.add("best = ReduceMax<keepdims=0>(all, last)", last=np.array([-1]))
    net.add("values, where = TopK(best, three)", three=np.array([3]))
    net.add(f"{boxes} = Identity(all)")
    net.add(f"{scores} = Identity(values)")
    net.add(f"{labels} = Cast<to={1 if classes == 'float' else 6}>(where)")
    net.add("positive = Greater(values, zero)", zero=0.0)
    net.add("ones = Cast<to=6>(positive)")
    net.add(f"{number} = ReduceSum(ones, last)")
    net.output(number, "int32", 2)
    net.output(boxes)
    net.output(scores, rank=2)
    net.output(labels, classes, 2)
    return net.model()


def outputs(names, boxes, classes):
    """What two of three detections look like: the third row is padding."""
    arrays = (np.array([[2]], np.int32), boxes, SCORES, np.array([classes]))
    return dict(zip(names, arrays, strict=True))


def test_sets_of_tensorflow():
    """Boxes are relative and y comes first; classes start at 1."""
    convention = recognise(facts_of(sets(TENSORFLOW)))
    assert convention == TensorFlow(TENSORFLOW, 1, 0, 128, 128)
    [found] = convention.decode(outputs(TENSORFLOW, BOXES / 128, [1.0, 3.0, 1.0]), ALL)
    assert found.boxes.tolist() == [[16, 8, 64, 32], [0, 0, 4, 4]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([0, 2], [0.75, 0.625])


def test_sets_of_efficient_nms():
    """Boxes are corners in pixels; classes start at 0."""
    convention = recognise(facts_of(sets(EFFICIENT, classes="int32")))
    assert convention == EfficientNms(EFFICIENT, 0)
    [found] = convention.decode(outputs(EFFICIENT, BOXES, [1, 0, 1]), ALL)
    assert found.boxes.tolist() == [[8, 16, 32, 64], [0, 0, 4, 4]]
    assert found.labels.tolist() == [1, 0]


def test_tensorflow_lite_counts_classes_from_0():
    """Its operator names the outputs, in an order of its own."""
    base = "TFLite_Detection_PostProcess"
    model = sets(TENSORFLOW)
    renamed = dict(zip(TENSORFLOW, (f"{base}:3", base, f"{base}:2", f"{base}:1"), strict=True))
    for value in model.graph.outputs:
        value.name = renamed[value.name]
    convention = recognise(facts_of(model))
    assert convention == TensorFlow(tuple(renamed.values()), 0, 0, 128, 128)
    found = convention.decode(outputs(renamed.values(), BOXES / 128, [1.0, 3.0, 1.0]), ALL)
    assert found[0].labels.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (TENSORFLOW, "int32"),
        (EFFICIENT, "float"),
        (("num", "boxes", "scores", "classes"), "float"),
    ],
)
def test_other_sets_are_not_known(names, classes):
    """Whole numbers and names of different exporters, and names of none."""
    assert recognise(facts_of(sets(names, classes=classes))) is None


def mmdeploy(*, labels="labels", columns=5, pick=True):
    """Rows of box and score, and labels."""
    net = Builder()
    net.shaped("all", net.conv("heads", net.grid(64), 3 * columns), 1, 3 * 4, columns)
    net.add("best = ReduceMax<keepdims=0>(all, last)", last=np.array([-1]))
    if pick:
        net.add(f"values, {labels} = TopK(best, three)", three=np.array([12]))
    else:
        net.add(f"{labels} = Cast<to=7>(best)")
    net.add("dets = Identity(all)")
    net.output("dets")
    net.output(labels, "int64", 2)
    return net.model()


def test_sets_of_mmdeploy():
    """Boxes and scores in five columns; a label below zero is padding."""
    convention = recognise(facts_of(mmdeploy()))
    assert convention == MmDeploy("dets", "labels", 0)
    rows = np.concatenate([BOXES, SCORES[..., None]], axis=-1)
    [found] = convention.decode({"dets": rows, "labels": np.array([[4, 0, -1]])}, ALL)
    assert found.boxes.tolist() == [[8, 16, 32, 64], [0, 0, 4, 4]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([4, 0], [0.75, 0.625])


@pytest.mark.parametrize("options", [{"labels": "classes"}, {"columns": 6}, {"pick": False}])
def test_other_rows_and_labels_are_not_known(options):
    """Another name, six columns, nothing chosen."""
    assert recognise(facts_of(mmdeploy(**options))) is None


def paddle(*, first="label", columns=4):
    """Rows of class, score and box, and their number."""
    net = Builder()
    net.shaped("cells", net.conv("heads", net.grid(64), 6), 1, 6, 4)
    net.add("across = Transpose<perm=[0,2,1]>(cells)")
    net.add("kept = NonMaxSuppression(cells, across, most)", most=np.array([3]))
    net.add("label = Gather<axis=1>(kept, one)", one=np.array([1]))
    net.add("place = Gather<axis=1>(kept, two)", two=np.array(2))
    net.add("number = Cast<to=1>(label)")
    net.shaped("flat", "cells", 6, 4)
    net.add("box = Gather(flat, place)")
    net.add("score = ReduceMax(box, last)", last=np.array([1]))
    order = ("number", "score", "box") if first == "label" else ("box", "score", "number")
    net.add(f"rows = Concat<axis=1>({', '.join(order)})")
    net.add("shape = Shape<end=1>(rows)")
    net.add("count = Cast<to=6>(shape)")
    net.output("rows", rank=2)
    net.output("count", "int32", 1)
    return net.model()


def test_sets_of_paddle():
    """Rows of all pictures behind one another; a class below zero says that there is nothing."""
    convention = recognise(facts_of(paddle()))
    assert convention == Paddle("rows", "count", 0)
    rows = np.array([[2, 0.75, 1, 2, 3, 4], [0, 0.625, 5, 6, 7, 8], [-1, 0.9, 0, 0, 0, 0]])
    first, second = convention.decode({"rows": rows, "count": np.array([2, 1])}, ALL)
    assert first.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert (first.labels.tolist(), first.scores.tolist()) == ([2, 0], [0.75, 0.625])
    assert len(second) == 0


def test_rows_whose_last_column_is_the_class_are_not_known():
    """The graph shows where the whole numbers go."""
    assert recognise(facts_of(paddle(first="box"))) is None
