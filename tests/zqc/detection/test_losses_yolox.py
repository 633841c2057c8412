"""The loss of YOLOX, and of YOLOv5 decoded in the graph, is that of PyTorch."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.zqc.detection.test_losses import CLASSES, SIZE, attached, evaluated, facts, heads
from tests.zqc.detection.test_losses import objects_of as objects
from tools.example.loss import complete_iou
from zqc.detection.conventions.grids import cell_points
from zqc.detection.conventions.yolo_objectness import YoloObjectness
from zqc.detection.conventions.yolox import YoloX
from zqc.detection.losses.by_cost import by_cost
from zqc.detection.losses.candidates import Places
from zqc.detection.losses.known import loss_of
from zqc.detection.nms import select

STRIDES = (8, 16, 32)
CELLS = 84
POINTS, WIDTHS = cell_points((SIZE, SIZE), STRIDES, offset=0.5)


def corners(rows, kind):
    """Boxes as each of the families writes them."""
    centre, size = rows[..., :2], rows[..., 2:4]
    if kind == "raw":
        widths = torch.tensor(WIDTHS)
        centre, size = (centre - 0.5) * widths + torch.tensor(POINTS), size.exp() * widths
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


@pytest.mark.parametrize("kind", ["raw", "decoded", "yolov5"])
def test_loss_and_slopes_are_those_of_pytorch(rng, kind):
    """CIoU, objectness and classes of two pictures, from scores behind the sigmoid (1e-4)."""
    count = 3 * CELLS if kind == "yolov5" else CELLS
    shape = (2, count, 5 + CLASSES)
    raw = STRIDES if kind == "raw" else ()
    convention = YoloX("rows", CLASSES, raw, SIZE, SIZE)
    if kind == "yolov5":
        convention = YoloObjectness("rows", CLASSES)
    loss = loss_of(convention, facts(rows=shape))
    run = attached(loss, heads(rows=shape), 2)
    rows = rng.uniform(0.05, 0.9, shape).astype(np.float32)
    if kind != "raw":
        rows[..., :4] = rng.uniform([10, 10, 8, 8], [50, 50, 40, 40], (2, count, 4))
    wanted = [objects(rng, 3), objects(rng, 1)]
    found, assigned = evaluated(run, loss, {"rows_in": rows}, wanted)
    leaf = torch.tensor(rows, requires_grad=True)
    boxes = corners(leaf, kind)
    entropy = functional.binary_cross_entropy
    total = torch.zeros(())
    for i, (goal, one) in enumerate(zip(assigned, wanted, strict=True)):
        owned = torch.tensor(np.flatnonzero(goal.owner >= 0))
        owner = torch.tensor(goal.owner)[owned]
        overlap = complete_iou(boxes[i, owned], torch.tensor(one.boxes)[owner])
        labels = functional.one_hot(torch.tensor(one.classes)[owner], CLASSES).float()
        classes = entropy(leaf[i, owned, 5:], labels, reduction="sum")
        there = entropy(leaf[i, :, 4], torch.tensor(goal.target), reduction="sum")
        total = total + (5 * (1 - overlap).sum() + classes + there) / max(1, len(owned))
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-4)
    slope = np.abs(leaf.grad.numpy()).max()
    np.testing.assert_allclose(found["slope_rows_in"], leaf.grad, rtol=1e-4, atol=1e-5 * slope)
    for i, own in enumerate(convention.decode({"rows": rows})):
        ours = select(found["boxes"][i], found["scores"][i])
        np.testing.assert_allclose(ours.scores, own.scores, rtol=1e-4)
        np.testing.assert_allclose(ours.boxes, own.boxes, rtol=1e-4, atol=1e-3)


def chosen_one_by_one(boxes, scores, wanted):
    """SimOTA in loops over candidates, as YOLOX writes it."""
    costs, possible = [], set()
    overlaps = np.zeros((len(wanted), len(boxes)))
    for m, (box, label) in enumerate(zip(wanted.boxes, wanted.classes, strict=True)):
        row = []
        for a, (said, (x, y), width) in enumerate(zip(boxes, POINTS, WIDTHS[:, 0], strict=True)):
            inside = box[0] < x < box[2] and box[1] < y < box[3]
            middle = (box[:2] + box[2:]) / 2
            near = max(abs(x - middle[0]), abs(y - middle[1])) < 2.5 * width
            if inside or near:
                possible.add(a)
            sides = np.minimum(box[2:], said[2:]) - np.maximum(box[:2], said[:2])
            shared = np.prod(np.maximum(sides, 0))
            union = np.prod(box[2:] - box[:2]) + np.prod(said[2:] - said[:2]) - shared
            overlaps[m, a] = shared / union
            p = torch.tensor(np.sqrt(scores[a]))
            target = functional.one_hot(torch.tensor(label), CLASSES).double()
            entropy = functional.binary_cross_entropy(p, target, reduction="sum").item()
            far = 0 if inside and near else 1e5
            row.append(entropy - 3 * np.log(overlaps[m, a] + 1e-8) + far)
        costs.append(row)
    places = sorted(possible)
    owners = {}
    for m, row in enumerate(costs):
        count = max(1, int(np.sort(overlaps[m, places])[-10:].sum()))
        for a in sorted(places, key=lambda place, row=row: row[place])[:count]:
            owners.setdefault(a, []).append(m)
    return {a: min(ms, key=lambda m, a=a: costs[m][a]) for a, ms in owners.items()}


def test_candidates_are_those_of_simota(rng):
    """The same as by loops, and nothing where there is nothing."""
    centre, half = POINTS + rng.normal(0, 6, POINTS.shape), rng.uniform(4, 16, POINTS.shape)
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    scores = rng.uniform(0.01, 0.9, (CELLS, CLASSES))
    wanted = objects(rng, 4)
    places = Places(POINTS, WIDTHS)
    found = by_cost(boxes, scores, wanted, places)
    expected = chosen_one_by_one(boxes, scores, wanted)
    assert len(expected) > 5
    assert {a: found.owner[a] for a in np.flatnonzero(found.owner >= 0)} == expected
    np.testing.assert_array_equal(found.target, found.owner >= 0)
    nothing = type(wanted)(wanted.boxes[:0], wanted.classes[:0])
    assert not by_cost(boxes, scores, nothing, places).target.any()


@pytest.mark.parametrize(
    "convention", [YoloX("rows", CLASSES, (), SIZE, SIZE), YoloObjectness("rows", CLASSES)]
)
def test_rows_that_no_grids_have_are_without_a_loss(convention):
    """Where it cannot be told in which cells the candidates stand, none is known."""
    assert loss_of(convention, facts(rows=(2, 3 * CELLS + 30, 5 + CLASSES))) is None
