"""Scenes are functions of their number, and their boxes hold their objects."""

import numpy as np
from PIL import Image

from tests.tools.example.toys import discs
from tools.example.scenes import MOST_OBJECTS, PHOTOGRAPHS, SIZE, Assets, make_layout, make_scene


def test_a_box_is_tight():
    """It holds what is more object than background, and touches it on all four sides."""
    for index in range(20):
        layout = make_layout(discs(), 0, index)
        assert 1 <= len(layout.objects) <= MOST_OBJECTS
        assert layout.labels.tolist() == [one.label for one in layout.objects]
        for one, box in zip(layout.objects, layout.boxes.astype(int), strict=True):
            whole = np.zeros((SIZE, SIZE), bool)
            whole[one.area] = one.alpha > 0.5
            rows, columns = np.nonzero(whole)
            ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == ends


def test_a_scene_depends_on_its_number_alone():
    """The same seed and index give the same bytes, another index another picture."""
    grey = [Image.new("RGB", (300, 240), (90, 120, 150))] * len(PHOTOGRAPHS["training"])
    assets = Assets(discs(), grey)
    first, again, other = (make_scene(assets, 7, index) for index in (3, 3, 4))
    assert first.jpeg == again.jpeg
    assert first.jpeg != other.jpeg
    assert first.pixels().shape == (3, SIZE, SIZE)
