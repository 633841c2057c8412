"""The loss of SSDs is that of PyTorch, and anchors are assigned as SSD says."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.passes.helpers import build_model
from tests.zqc.detection.test_losses import SIZE, attached, evaluated, objects_of
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.ssd import SsdLite
from zqc.detection.losses.assignment import Objects
from zqc.detection.losses.known import loss_of
from zqc.detection.nms import select

CLASSES, COUNT = 3, 60
KINDS = {
    "none": "confidence = Identity(confidence_in)",
    "softmax": "confidence = Softmax(confidence_in)",
    "copied softmax": "seen = Softmax(confidence_in)\nconfidence = Identity(seen)",
    "sigmoid": "confidence = Sigmoid(confidence_in)",
}
"""What scores have been through; of the copied one the logits are not found, but computed."""


def anchors_of(rng):
    """Anchors (cy, cx, h, w) relative to the input."""
    return rng.uniform([0, 0, 0.1, 0.1], [1, 1, 0.6, 0.6], (COUNT, 4)).astype(np.float32)


def written(anchors, kind, *, height=SIZE, width=SIZE, x_first=False):
    """A convention, a model of two pictures that puts its scores out so, and its loss."""
    convention = SsdLite(
        "codes", "confidence", anchors, CLASSES, height, width, x_first, logits=kind == "none"
    )
    boxes, scores = f"float[2,{COUNT},4] codes", f"float[2,{COUNT},{CLASSES + 1}] confidence"
    body = f"codes = Identity(codes_in)\n{KINDS[kind]}"
    text = f"({boxes}_in, {scores}_in) => ({boxes}, {scores}) {{ {body} }}"
    model = build_model(text, opset=17)
    outputs = {value.name: tuple(value.shape) for value in model.graph.outputs}
    loss = loss_of(convention, Facts(outputs, height, width, graph=model.graph))
    return convention, model, loss


def multibox(codes, logits, goal, objects, anchors, kind, x_first):
    """Smooth L1 of encoded boxes and the cross entropy of what counts, of one picture."""
    owned = torch.tensor(goal.owner >= 0)
    owner = torch.tensor(goal.owner)[owned]
    pixels = torch.tensor(anchors).double()[owned] * SIZE
    corners = torch.tensor(objects.boxes).double()[owner]
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    size = corners[:, 2:] - corners[:, :2]
    wanted = torch.cat(
        [
            10 * (centre.flip(1) - pixels[:, :2]) / pixels[:, 2:],
            5 * (size.flip(1) / pixels[:, 2:]).log(),
        ],
        dim=1,
    )
    wanted = wanted[:, [1, 0, 3, 2]] if x_first else wanted
    boxes = functional.smooth_l1_loss(codes[owned], wanted, reduction="sum")
    labels = torch.zeros(COUNT, dtype=torch.long)
    labels[owned] = torch.tensor(objects.classes)[owner] + 1
    counted = torch.tensor(goal.counted) > 0
    if kind == "sigmoid":
        target = functional.one_hot(labels, CLASSES + 1)[:, 1:].double()
        classes = functional.binary_cross_entropy_with_logits(
            logits[counted][:, 1:], target[counted], reduction="sum"
        )
    else:
        classes = functional.cross_entropy(logits[counted], labels[counted], reduction="sum")
    return (boxes + classes) / max(1, len(owner))


@pytest.mark.parametrize(
    ("kind", "x_first"),
    [("none", True), ("softmax", True), ("copied softmax", False), ("sigmoid", False)],
)
def test_loss_and_slopes_are_those_of_pytorch(rng, kind, x_first):
    """Offsets, softmax or sigmoids, mining: the loss of two pictures and its slopes (1e-4)."""
    anchors = anchors_of(rng)
    convention, model, loss = written(anchors, kind, x_first=x_first)
    run = attached(loss, model, 2)
    feeds = {
        "codes_in": rng.normal(0, 2, (2, COUNT, 4)).astype(np.float32),
        "confidence_in": rng.normal(0, 2, (2, COUNT, CLASSES + 1)).astype(np.float32),
    }
    objects = [objects_of(rng, 3), Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))]
    found, assigned = evaluated(run, loss, feeds, objects)
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in feeds.items()}
    total = sum(
        multibox(
            leaves["codes_in"][i], leaves["confidence_in"][i], goal, wanted, anchors, kind, x_first
        )
        for i, (goal, wanted) in enumerate(zip(assigned, objects, strict=True))
    )
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-4)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[f"slope_{name}"], leaf.grad, rtol=1e-4, atol=1e-5)
    names = {name: found[name] for name in ("codes", "confidence")}
    for i, own in enumerate(convention.decode(names)):
        ours = select(found["boxes"][i], found["scores"][i])
        np.testing.assert_allclose(ours.boxes, own.boxes, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(ours.scores, own.scores, rtol=1e-4)


def placed(boxes):
    """The loss of an SSD with these anchors, (x1, y1, x2, y2) in pixels."""
    boxes = np.asarray(boxes, np.float32) / SIZE
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    anchors = np.concatenate([centre[:, ::-1], size[:, ::-1]], axis=1)
    return loss_of(SsdLite("c", "s", anchors, 2, SIZE, SIZE, logits=True), Facts({}, SIZE, SIZE))


def test_anchors_answer_for_what_they_overlap():
    """From a half on, the best of each object in any case; of the others the hardest three each."""
    rows = [[0, 0, 20, 20], [0, 0, 20, 16], [0, 0, 20, 9], [40, 40, 60, 60], *[[0, 30, 9, 39]] * 20]
    loss = placed(rows)
    objects = Objects(np.array([[0, 0, 20, 20], [44, 50, 54, 60]], np.float32), np.array([1, 0]))
    scores = np.zeros((1, len(rows), 2), np.float32)
    scores[0, 4:, 0] = np.arange(20) / 40
    (found,) = loss.assigned(np.zeros((1, len(rows), 4)), scores, [objects])
    assert found.owner.tolist()[:5] == [0, 0, -1, 1, -1]
    assert np.flatnonzero(found.counted).tolist() == [0, 1, 3, *range(15, 24)]
    (empty,) = loss.assigned(
        np.zeros((1, len(rows), 4)), scores, [Objects(objects.boxes[:0], objects.classes[:0])]
    )
    assert np.flatnonzero(empty.counted).tolist() == [21, 22, 23]
    assert not empty.target.any()


def test_of_two_objects_the_nearer_one_has_their_best_anchor():
    """An anchor answers for one object alone."""
    loss = placed([[0, 0, 20, 20], [40, 40, 60, 60]])
    objects = Objects(np.array([[0, 0, 10, 10], [0, 0, 18, 20]], np.float32), np.array([1, 0]))
    (found,) = loss.assigned(np.zeros((1, 2, 4)), np.zeros((1, 2, 2)), [objects])
    assert found.owner.tolist() == [1, -1]


def test_who_is_not_known_to_be_trained_so_has_none():
    """Scores that have been through something else, or nobody knows what."""
    convention = SsdLite("c", "s", np.zeros((4, 4), np.float32), 2, SIZE, SIZE)
    assert loss_of(convention, Facts({"c": (1, 4, 4), "s": (1, 4, 3)}, SIZE, SIZE)) is None
