"""DETR and its kin."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, check_reference, facts_of
from tools.reference.conventions_families import QUERIES
from zqc.detection.conventions.queries import Detr, UltralyticsDetr
from zqc.detection.conventions.recognise import recognise

NAMES = {"names": "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}"}


def tokens(net):
    """Sixteen queries of three numbers."""
    net.shaped("channels", net.grid(32), 1, 3, QUERIES)
    return net.add("tokens = Transpose<perm=[0,2,1]>(channels)")


def chosen(net, logits):
    """The places of the best queries, best first."""
    net.add(f"best = ReduceMax<keepdims=0>({logits}, last)", last=np.array([-1]))
    net.add("top, where = TopK(best, count)", count=np.array([QUERIES]))
    return net.add("places = Unsqueeze(where, last)")


def detr(columns, *, last="none", reference=False, select=False, boxes="sigmoid"):
    """Logits and boxes; around references, and of queries chosen in the graph, if asked for."""
    net = Builder()
    source = tokens(net)
    if select:
        chosen(net, net.linear("first", source, columns))
        net.add("expanded = Expand(places, size)", size=np.array([1, QUERIES, 3]))
        source = net.add("queries = GatherElements<axis=1>(tokens, expanded)")
    net.linear("raw", source, columns)
    net.add({"none": "logits = Identity(raw)"}.get(last, f"logits = {last}(raw)"))
    box = net.linear("box", source, 4)
    if reference:
        box = net.add(f"moved = Add({box}, {net.linear('places_of', source, 4)})")
    if boxes == "sigmoid":
        net.add(f"pred_boxes = Sigmoid({box})")
    else:
        net.add("sampled = GridSample(x, sampling)", sampling=np.zeros((1, 4, 4, 2), np.float32))
        net.add("mean = ReduceMean<keepdims=0>(sampled)")
        net.add(f"pred_boxes = Mul({box}, mean)")
    net.output("logits")
    net.output("pred_boxes")
    return net.model()


def test_classes_of_detr_compete():
    """Read as transformers reads DETR: the last column is that there is nothing."""
    found = check_reference("detr", detr(6))
    assert isinstance(found, Detr)
    assert (found.classes, found.competing) == (5, True)


@pytest.mark.parametrize(
    "options",
    [
        {"select": True},
        {"reference": True},
        {"select": True, "reference": True},
        {"select": True, "boxes": "refined"},
    ],
    ids=str,
)
def test_classes_of_refining_detectors_do_not(options):
    """Read as transformers reads RT-DETR: each class has a sigmoid of its own."""
    found = check_reference("rt-detr", detr(5, **options), most=QUERIES)
    assert isinstance(found, Detr)
    assert (found.classes, found.competing) == (5, False)


@pytest.mark.parametrize(("last", "classes"), [("Softmax", 4), ("Sigmoid", 5)])
def test_scores_are_taken_as_they_are(last, classes):
    """What is behind its function in the graph goes through it only once."""
    convention = recognise(facts_of(detr(5, last=last)))
    assert isinstance(convention, Detr)
    assert convention.classes == classes
    logits = np.zeros((1, QUERIES, 5), np.float32)
    logits[0, 3, 1] = 0.75
    boxes = np.full((1, QUERIES, 4), 0.5, np.float32)
    [found] = convention.decode({"logits": logits, "pred_boxes": boxes}, ALL)
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], [0.75])
    assert found.boxes.tolist() == [[32, 32, 96, 96]]


def test_with_four_classes_the_boxes_are_those_behind_the_sigmoid():
    """Both outputs have four columns."""
    found = recognise(facts_of(detr(4)))
    assert isinstance(found, Detr)
    assert (found.boxes, found.scores, found.classes) == ("pred_boxes", "logits", 3)


def test_other_pairs_are_not_known():
    """Boxes that are not squashed and of no chosen queries; no graph; one class that competes."""
    assert recognise(facts_of(detr(5, boxes="refined"))) is None
    assert recognise(replace(facts_of(detr(5)), graph=None)) is None
    assert recognise(facts_of(detr(1))) is None


def rows(*, last="Sigmoid", select=True):
    """RT-DETR in one output, as Ultralytics exports it."""
    net = Builder()
    source = tokens(net)
    logits = net.linear("logits", source, 5)
    net.linear("box", source, 4)
    net.add("boxes = Sigmoid(box)")
    net.add(f"scores = {last}({logits})")
    net.add("both = Concat<axis=-1>(boxes, scores)")
    if select:
        chosen(net, "scores")
        net.add("expanded = Expand(places, size)", size=np.array([1, QUERIES, 9]))
        net.add("output0 = GatherElements<axis=1>(both, expanded)")
    else:
        net.add("output0 = Identity(both)")
    net.output("output0")
    return net.model()


def test_rt_detr_of_ultralytics():
    """Relative boxes and scores in the columns of one output, with as many names as classes."""
    convention = recognise(facts_of(rows(), metadata=NAMES))
    assert convention == UltralyticsDetr("output0", 5, 128, 128)
    output = np.zeros((1, QUERIES, 9), np.float32)
    output[0, 4] = [0.5, 0.25, 0.25, 0.5, 0, 0, 0.75, 0, 0.625]
    [found] = convention.decode({"output0": output}, ALL)
    assert found.boxes.tolist() == [[48, 0, 80, 64]] * 2
    assert (found.labels.tolist(), found.scores.tolist()) == ([2, 4], [0.75, 0.625])


def test_other_rows_are_not_known():
    """Without the names, without a choice of queries, and behind another function."""
    assert recognise(facts_of(rows())) is None
    assert recognise(facts_of(rows(select=False), metadata=NAMES)) is None
    assert recognise(facts_of(rows(last="Relu"), metadata=NAMES)) is None
