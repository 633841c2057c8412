"""The loss of the example detector."""

import pytest
import torch

from tools.example.loss import DetectionLoss, assign, complete_iou, iou
from tools.example.network import BINS, anchor_points

SIZE = 64


def test_intersection_over_union():
    """A quarter of each of two squares is 1/7; apart it is 0, and the complete one below it."""
    one = torch.tensor([0.0, 0.0, 2.0, 2.0])
    assert iou(one, one) == pytest.approx(1)
    assert iou(one, torch.tensor([1.0, 1.0, 3.0, 3.0])) == pytest.approx(1 / 7)
    apart = torch.tensor([4.0, 0.0, 6.0, 2.0])
    assert iou(one, apart) == 0
    assert complete_iou(one, one) == pytest.approx(1)
    assert complete_iou(one, apart) == pytest.approx(-16 / 40)


def test_anchors_inside_answer_for_an_object():
    """Those assigned lie in it; an object that is not there has none."""
    points, strides = anchor_points(SIZE)
    centres = points * strides[:, None]
    boxes = torch.cat((centres - 8, centres + 8), -1)[None]
    objects = torch.tensor([[[8.0, 8.0, 32.0, 40.0], [0.0, 0.0, 64.0, 64.0]]])
    labels = torch.tensor([[1, -1]])
    scores = torch.full((1, len(points), 3), 0.5)
    owner, positive, target = assign(scores, boxes, centres, objects, labels)
    assert positive.any()
    assert not owner[positive].any()
    chosen = centres[positive[0]]
    assert ((chosen > objects[0, 0, :2]) & (chosen < objects[0, 0, 2:])).all()
    assert (target > 0).equal(positive)


def test_it_falls_as_predictions_are_followed_downhill():
    """Gradient descent on raw predictions lowers the sum of its parts."""
    torch.manual_seed(0)
    loss = DetectionLoss(size=SIZE)
    raw = torch.zeros(1, 4 * BINS + 3, len(loss.points), requires_grad=True)
    objects, labels = torch.tensor([[[8.0, 8.0, 40.0, 48.0]]]), torch.tensor([[2]])
    optimizer = torch.optim.Adam([raw], lr=0.1)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value, parts = loss(raw, objects, labels)
        assert value.item() == pytest.approx(parts.sum().item())
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2
