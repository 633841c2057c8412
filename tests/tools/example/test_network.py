"""The example's network."""

import torch

from tools.example.network import BINS, STRIDES, Detector, anchor_points


def test_anchors_are_the_centres_of_all_cells():
    """Half a cell from the border in units of their stride, x first, the small strides first."""
    points, strides = anchor_points(64)
    assert len(points) == sum((64 // stride) ** 2 for stride in STRIDES)
    assert points[:2].tolist() == [[0.5, 0.5], [1.5, 0.5]]
    assert strides[[0, -1]].tolist() == [STRIDES[0], STRIDES[-1]]


def test_boxes_are_decoded_in_pixels():
    """Equal bins are distances of 7.5 cells, so that boxes are 15 strides wide about the anchor."""
    model = Detector(classes=2, size=64).eval()
    points, strides = anchor_points(64)
    logits = torch.zeros(1, 4 * BINS + 2, len(points))
    model.raw = lambda images: logits
    (found,) = model(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(found[:2], (points * strides[:, None]).T)
    torch.testing.assert_close(found[2:4], (15 * strides).expand(2, -1))
    torch.testing.assert_close(found[4:], torch.full((2, len(points)), 0.5))


def test_shapes():
    """A picture gives a box and class scores for every anchor."""
    model = Detector(classes=2, size=64).eval()
    with torch.no_grad():
        found = model(torch.rand(2, 3, 64, 64))
    assert found.shape == (2, 4 + 2, model.anchors)
