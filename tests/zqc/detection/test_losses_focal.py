"""The losses of RetinaNet, EfficientDet and FCOS are those of PyTorch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.zqc.detection.test_losses import attached, evaluated, facts, heads, objects_of
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.fcos import Fcos, TorchvisionFcos
from zqc.detection.conventions.retinanet import EfficientDet, RetinaNet
from zqc.detection.losses.assignment import Objects
from zqc.detection.losses.by_location import by_location
from zqc.detection.losses.candidates import Places
from zqc.detection.losses.known import loss_of
from zqc.detection.nms import select

SIZE, CLASSES, PICTURES = 64, 3, 2
NOTHING = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def generalized(one, other):
    """GIoU of boxes, row by row."""
    low, high = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (one, other)]
    union = areas[0] + areas[1] - shared
    low, high = torch.minimum(one[:, :2], other[:, :2]), torch.maximum(one[:, 2:], other[:, 2:])
    hull = (high - low).prod(1)
    return shared / union - (hull - union) / hull


def focal(logits, target, power):
    """The focal loss with α = 0.25, value by value."""
    p = logits.sigmoid()
    right = torch.where(target > 0, p, 1 - p)
    weight = torch.where(target > 0, 0.25, 0.75)
    return -weight * (1 - right) ** power * right.log()


def of_picture(boxes, logits, central, goal, objects, power, points):
    """The loss of one picture in double precision."""
    owned = torch.tensor(goal.owner >= 0)
    owner = torch.tensor(goal.owner)[owned]
    target = torch.zeros_like(logits)
    target[owned] = functional.one_hot(torch.tensor(objects.classes)[owner], CLASSES).double()
    wanted = torch.tensor(objects.boxes).double()[owner]
    counted = torch.tensor(goal.counted) > 0
    total = (
        focal(logits, target, power)[counted].sum() + (1 - generalized(boxes[owned], wanted)).sum()
    )
    if central is not None:
        at = torch.tensor(points).double()[owned]
        low, high = at - wanted[:, :2], wanted[:, 2:] - at
        ratio = torch.minimum(low, high) / torch.maximum(low, high)
        total = total + functional.binary_cross_entropy_with_logits(
            central[owned, 0], ratio.prod(1).sqrt(), reduction="sum"
        )
    return total / max(1, len(owner))


def rows(values, columns):
    """N × a·columns × h × w as N × h·w·a × columns."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, columns)


def compared(rng, convention, shapes, candidates, *, power=2.0, points=None, reach=8):
    """Loss and slopes against PyTorch, and candidates against the convention.

    ``candidates`` computes boxes, logits and centerness from the outputs as PyTorch's tensors.
    """
    loss = loss_of(convention, facts(**shapes))
    run = attached(loss, heads(**shapes), PICTURES)
    feeds = {
        f"{name}_in": rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()
    }
    if points is not None:
        feeds = {n: np.abs(v) * reach if n.startswith("box") else v for n, v in feeds.items()}
    if not getattr(convention, "logits", True):
        feeds = {n: v if n.startswith("box") else 0.3 * np.tanh(v) + 0.5 for n, v in feeds.items()}
    objects = [objects_of(rng, 4), NOTHING]
    found, assigned = evaluated(run, loss, feeds, objects)
    assert (assigned[0].owner >= 0).sum() > 3
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in feeds.items()}
    boxes, logits, central = candidates({n.removesuffix("_in"): v for n, v in leaves.items()})
    total = sum(
        of_picture(
            boxes[i],
            logits[i],
            None if central is None else central[i],
            assigned[i],
            objects[i],
            power,
            points,
        )
        for i in range(PICTURES)
    )
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-4)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[f"slope_{name}"], leaf.grad, rtol=1e-4, atol=1e-5)
    for i, own in enumerate(convention.decode({n: feeds[f"{n}_in"] for n in shapes})):
        ours = select(found["boxes"][i], found["scores"][i])
        np.testing.assert_allclose(ours.boxes, own.boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(ours.scores, own.scores, rtol=1e-4)
    return assigned[0]


def decoded(codes, anchors):
    """Boxes from (tx, ty, tw, th)."""
    anchors = torch.tensor(anchors).double()
    centre = codes[..., :2] * anchors[:, 2:] + anchors[:, :2]
    size = codes[..., 2:].exp() * anchors[:, 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def test_retinanet_has_the_loss_of_pytorch(rng):
    """Focal loss without the column of background, and GIoU: loss and slopes (1e-4)."""
    middles, sides = rng.uniform(0, SIZE, (90, 2)), rng.uniform(8, 50, (90, 2))
    anchors = np.concatenate([middles, sides], axis=1).astype(np.float32)
    convention = RetinaNet("boxes_", "logits", anchors, CLASSES)
    shapes = {"boxes_": (PICTURES, 90, 4), "logits": (PICTURES, 90, CLASSES + 1)}
    goal = compared(
        rng,
        convention,
        shapes,
        lambda said: (decoded(said["boxes_"], anchors), said["logits"][..., 1:], None),
    )
    assert (goal.counted == 0).any()  # between 0.4 and a half


def test_efficientdet_has_the_loss_of_pytorch(rng):
    """The same with γ = 1.5, from one output a grid, with y before x."""
    middles, sides = rng.uniform(0, SIZE, (180, 2)), rng.uniform(8, 50, (180, 2))
    anchors = np.concatenate([middles, sides], axis=1).astype(np.float32)
    convention = EfficientDet(("box0", "box1"), ("class0", "class1"), anchors, CLASSES, True)
    shapes = {}
    for index, cells in enumerate((4, 2)):
        shapes[f"box{index}"] = (PICTURES, 36, cells, cells)
        shapes[f"class{index}"] = (PICTURES, 9 * CLASSES, cells, cells)

    def candidates(said):
        codes, logits = (
            torch.cat([rows(said[f"{kind}{i}"], columns) for i in (0, 1)], dim=1)
            for kind, columns in (("box", 4), ("class", CLASSES))
        )
        return decoded(codes[..., [1, 0, 3, 2]], anchors), logits, None

    compared(rng, convention, shapes, candidates, power=1.5)


def from_sides(distances, points):
    """Boxes from the distances to the left, top, right and bottom."""
    points = torch.tensor(points).double()
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


@pytest.mark.parametrize("logits", [True, False])
def test_fcos_has_the_loss_of_pytorch(rng, logits):
    """Focal loss, GIoU and centerness, level by level, logits or scores (1e-4)."""
    convention = Fcos(
        ("box0", "box1"),
        ("class0", "class1"),
        ("mid0", "mid1"),
        (8, 16),
        CLASSES,
        logits,
        (SIZE, SIZE),
    )
    columns = {"box": 4, "class": CLASSES, "mid": 1}
    shapes = {
        f"{kind}{i}": (PICTURES, count, cells, cells)
        for i, cells in enumerate((8, 4))
        for kind, count in columns.items()
    }
    points = convention.cells[0]

    def candidates(said):
        box, classes, mid = (
            torch.cat([rows(said[f"{kind}{i}"], count) for i in (0, 1)], dim=1)
            for kind, count in columns.items()
        )
        if not logits:
            classes, mid = (torch.logit(each) for each in (classes, mid))
        return from_sides(box, points), classes, mid

    compared(rng, convention, shapes, candidates, points=points)


def test_torchvisions_fcos_has_the_loss_of_pytorch(rng):
    """Distances in strides, a column of background, and scores that are roots (1e-4)."""
    convention = TorchvisionFcos("boxes_", "logits", "middle", CLASSES, (SIZE, SIZE))
    points, strides = convention.cells
    count = len(points)
    shapes = {
        "boxes_": (PICTURES, count, 4),
        "logits": (PICTURES, count, CLASSES + 1),
        "middle": (PICTURES, count, 1),
    }

    def candidates(said):
        boxes = from_sides(said["boxes_"] * torch.tensor(strides).double(), points)
        return boxes, said["logits"][..., 1:], said["middle"]

    compared(rng, convention, shapes, candidates, points=points, reach=2)


def test_a_location_answers_for_the_smallest_box_of_its_level():
    """In the box, by the reach of the level, the smallest first, and near the middle if asked."""
    points = np.array([[10, 10], [30, 30], [60, 60], [30, 30]], np.float32)
    places = Places(points, np.array([[8], [8], [8], [16]], np.float32))
    boxes = np.array([[0, 0, 50, 50], [20, 20, 64, 50], [0, 0, 240, 60]], np.float32)
    objects = Objects(boxes, np.array([0, 1, 2]))
    found = by_location(np.zeros((4, 4)), np.zeros((4, 3)), objects, places)
    # The last reaches 210 pixels from (30, 30): 16 is the coarsest stride, and takes it.
    assert found.owner.tolist() == [0, 1, -1, 2]
    near = by_location(np.zeros((4, 4)), np.zeros((4, 3)), objects, places, radius=1.5)
    assert near.owner.tolist() == [-1, 0, -1, -1]
    assert found.counted.all()
    assert found.target.tolist() == [1, 1, 0, 1]


def test_an_anchor_between_does_not_count():
    """From a half on it answers, below 0.4 it finds nothing; the best one answers in any case."""
    anchors = np.array([[10, 10, 20, 20], [10, 10, 20, 11], [10, 10, 20, 9], [10, 10, 20, 7]])
    loss = loss_of(RetinaNet("b", "s", anchors.astype(np.float32), 2), Facts({}, SIZE, SIZE))
    objects = Objects(np.array([[0, 0, 20, 20]], np.float32), np.array([1]))
    (found,) = loss.assigned(np.zeros((1, 4, 4)), np.zeros((1, 4, 2)), [objects])
    assert found.owner.tolist() == [0, 0, -1, -1]
    assert found.counted.tolist() == [1, 1, 0, 1]
    (none,) = loss.assigned(np.zeros((1, 4, 4)), np.zeros((1, 4, 2)), [NOTHING])
    assert none.counted.all()
