"""Scenes as the input of a network."""

import numpy as np
import pytest
import torch

from tools.paths import SCENES
from tools.zoo.network import IMAGENET, Network
from tools.zoo.pictures import Scenes, augmented, batch, load, to_input


def network(**options):
    """A network of which only the input matters."""
    return Network("any", torch.nn.Identity, (), size=32, **options)


@pytest.fixture
def scene():
    """A black picture with one white object in it."""
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[:, :, 6:10, 4:12] = 1
    return Scenes(pixels, [torch.tensor([[4.0, 6, 12, 10]])], [torch.tensor([7])])


def test_the_scenes_are_read_with_their_labels():
    """As many as there are, in 0..1, each box inside its picture."""
    scenes = load(SCENES / "training")
    assert len(scenes.pixels) == len(scenes.boxes) == len(scenes.labels) == 64
    assert 0 <= scenes.pixels.min() < 0.1
    assert 0.9 < scenes.pixels.max() <= 1
    for boxes, labels in zip(scenes.boxes, scenes.labels, strict=True):
        assert len(boxes) == len(labels) > 0
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert 0 <= boxes.min() < boxes.max() <= scenes.pixels.shape[-1]


def test_boxes_follow_the_size(scene):
    """A picture twice as large has boxes twice as large."""
    pictures, objects = batch(scene, [0], network())
    assert pictures.shape == (1, 3, 32, 32)
    assert objects.boxes[0].tolist() == [[8, 12, 24, 20]]
    assert objects.labels[0].tolist() == [7]


def test_pixels_are_normalised_as_the_network_has_it():
    """Black and white in a range, and each channel by its own statistics, in either order."""
    pixels = torch.ones(1, 3, 32, 32)
    assert (to_input(pixels, network(value_range=(-1.0, 255.0))) == 255).all()
    white = (1 - torch.tensor(IMAGENET[0])) / torch.tensor(IMAGENET[1])
    given = to_input(pixels, network(statistics=IMAGENET))
    reversed_order = to_input(pixels, network(statistics=IMAGENET, bgr=True))
    torch.testing.assert_close(given[0, :, 0, 0], white)
    torch.testing.assert_close(reversed_order[0, :, 0, 0], white.flip(0))


def test_boxes_follow_the_crop(scene):
    """Whatever part is taken, the box still lies around the white object."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        pictures, objects = augmented(scene, [0], network(), rng)
        white = (pictures[0].mean(0) > 0.35).nonzero()
        if not len(objects.boxes[0]):
            continue
        rows, columns = white.aminmax(dim=0)
        expected = torch.tensor([rows[1], rows[0], columns[1] + 1, columns[0] + 1]).float()
        assert (objects.boxes[0][0] - expected).abs().max() <= 2
