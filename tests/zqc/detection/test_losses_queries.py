"""The loss of DETRs is that of PyTorch, and queries are matched at the least cost."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.zqc.detection.test_losses import attached, evaluated, facts, heads, objects_of
from tests.zqc.detection.test_losses_focal import NOTHING, SIZE, focal, generalized
from zqc.detection.conventions.queries import Detr, UltralyticsDetr
from zqc.detection.losses.known import loss_of
from zqc.detection.losses.pairs import cheapest_pairs

CLASSES, QUERIES, PICTURES = 3, 12, 2
HEIGHT, WIDTH = SIZE, SIZE + 32
WHOLE = torch.tensor([WIDTH, HEIGHT] * 2)


def corners(boxes):
    """Corners in pixels from centre and size as shares of the input."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1) * WHOLE


def shares(boxes):
    """Centre and size as shares of the input."""
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return torch.cat([centre, size], dim=-1) / WHOLE


def of_picture(boxes, logits, owner, objects, *, competing):
    """The set loss of one picture in double precision."""
    owned = torch.tensor(np.flatnonzero(owner >= 0))
    wanted = torch.tensor(objects.boxes).double()[owner[owned]]
    labels = torch.full((QUERIES,), CLASSES)
    labels[owned] = torch.tensor(objects.classes)[owner[owned]]
    count = max(1, len(owned))
    if competing:
        weight = torch.tensor([1.0] * CLASSES + [0.1], dtype=torch.float64)
        classes = functional.cross_entropy(logits, labels, weight)
    else:
        target = functional.one_hot(labels, CLASSES + 1)[:, :-1].double()
        classes = 2 * focal(logits, target, 2).sum() / count
    distance = (boxes[owned] - shares(wanted)).abs().sum()
    apart = (1 - generalized(corners(boxes)[owned], wanted)).sum()
    return classes + (5 * distance + 2 * apart) / count


def cheapest(boxes, logits, objects, *, competing):
    """The least cost of all ways to give each object a query, from PyTorch."""
    boxes, logits = torch.tensor(boxes).double(), torch.tensor(logits).double()
    wanted = torch.tensor(objects.boxes).double()
    labels = torch.tensor(objects.classes)
    if competing:
        kind = -logits.softmax(-1)[:, labels]
    else:
        ones = torch.ones_like(logits)
        kind = 2 * (focal(logits, ones, 2) - focal(logits, 0 * ones, 2))[:, labels]
    cost = kind + 5 * torch.cdist(boxes, shares(wanted), p=1)
    for m, box in enumerate(wanted):
        cost[:, m] -= 2 * generalized(corners(boxes), box.expand(QUERIES, 4))
    ways = permutations(range(QUERIES), len(labels))
    return min(ways, key=lambda way: sum(cost[q, m] for m, q in enumerate(way)))


@pytest.mark.parametrize(
    ("competing", "activation"), [(True, "none"), (False, "none"), (False, "sigmoid")]
)
def test_loss_and_slopes_are_those_of_pytorch(rng, competing, activation):
    """Matching, entropy, L1 and GIoU of a picture with objects and one without (1e-4)."""
    columns = CLASSES + competing
    convention = Detr("where", "what", CLASSES, competing, activation, HEIGHT, WIDTH)
    shapes = {"where": (PICTURES, QUERIES, 4), "what": (PICTURES, QUERIES, columns)}
    loss = loss_of(convention, facts(**shapes))
    run = attached(loss, heads(**shapes), PICTURES)
    feeds = {
        "where_in": rng.uniform(0.2, 0.6, shapes["where"]).astype(np.float32),
        "what_in": rng.normal(0, 1, shapes["what"]).astype(np.float32),
    }
    logits = feeds["what_in"]
    if activation == "sigmoid":
        feeds["what_in"] = 1 / (1 + np.exp(-logits))
    objects = [objects_of(rng, 3), NOTHING]
    found, assigned = evaluated(run, loss, feeds, objects)
    best = cheapest(feeds["where_in"][0], logits[0], objects[0], competing=competing)
    assert [np.flatnonzero(assigned[0].owner == m).item() for m in range(3)] == list(best)
    leaves = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in feeds.items()}
    said = leaves["what_in"].logit() if activation == "sigmoid" else leaves["what_in"]
    total = sum(
        of_picture(leaves["where_in"][i], said[i], assigned[i].owner, one, competing=competing)
        for i, one in enumerate(objects)
    )
    total.backward()
    np.testing.assert_allclose(found["loss"], total.item(), rtol=1e-4)
    for name, leaf in leaves.items():
        np.testing.assert_allclose(found[f"slope_{name}"], leaf.grad, rtol=1e-4, atol=1e-5)
    own = convention.decode({name: feeds[f"{name}_in"] for name in shapes})
    for i, one in enumerate(own):
        best = found["scores"][i].max()
        assert one.scores[0] == pytest.approx(best, rel=1e-4)
        query = found["scores"][i].max(axis=1).argmax()
        np.testing.assert_allclose(one.boxes[0], found["boxes"][i][query], atol=1e-3)


def test_one_output_is_read_as_two(rng):
    """RT-DETR of Ultralytics has the loss of the same boxes and scores in outputs of their own."""
    apart = Detr("where", "what", CLASSES, False, "sigmoid", HEIGHT, WIDTH)
    joined = UltralyticsDetr("rows_", CLASSES, HEIGHT, WIDTH)
    sizes = {"where": 4, "what": CLASSES, "rows_": 4 + CLASSES}
    shapes = {name: (PICTURES, QUERIES, count) for name, count in sizes.items()}
    rows = rng.uniform(0.1, 0.6, shapes["rows_"]).astype(np.float32)
    feeds = {"where_in": rows[..., :4], "what_in": rows[..., 4:], "rows__in": rows}
    objects = [objects_of(rng, 3), objects_of(rng, 1)]
    found = []
    for convention, names in ((apart, ("where", "what")), (joined, ("rows_",))):
        own = {name: shapes[name] for name in names}
        loss = loss_of(convention, facts(**own))
        run = attached(loss, heads(**own), PICTURES)
        found.append(evaluated(run, loss, {f"{n}_in": feeds[f"{n}_in"] for n in names}, objects)[0])
    assert float(found[0]["loss"]) == float(found[1]["loss"])
    slope = np.concatenate([found[0]["slope_where_in"], found[0]["slope_what_in"]], axis=-1)
    np.testing.assert_array_equal(slope, found[1]["slope_rows__in"])


def test_of_more_objects_than_queries_some_go_without(rng):
    """Each query has one object, and no object two."""
    convention = Detr("where", "what", CLASSES, True, "none", HEIGHT, WIDTH)
    loss = loss_of(convention, facts(where=(1, 4, 4), what=(1, 4, CLASSES + 1)))
    said = np.zeros((1, 4, 4)), rng.uniform(0, 1, (1, 4, CLASSES))
    (found,) = loss.assigned(*said, [objects_of(rng, 9)])
    assert len(set(found.owner.tolist())) == 4
    assert found.target.all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 4), (5, 3)])
def test_pairs_are_the_cheapest(rng, shape):
    """No other way costs less, with equal costs among them as well."""
    for costs in (rng.normal(0, 1, shape), rng.integers(0, 4, shape)):
        found = cheapest_pairs(costs)
        rows = np.flatnonzero(found >= 0)
        assert len(set(found[rows].tolist())) == len(rows) == min(shape)
        table = costs if shape[0] <= shape[1] else costs.T
        ways = permutations(range(table.shape[1]), len(table))
        least = min(table[np.arange(len(table)), list(way)].sum() for way in ways)
        assert costs[rows, found[rows]].sum() == pytest.approx(least)
