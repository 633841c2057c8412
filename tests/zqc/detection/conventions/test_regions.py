"""Regions of a map."""

import numpy as np
import pytest

from zqc.detection.conventions.regions import connected, grown, mean_inside, smallest_rectangle


def flooded(mask):
    """The connected regions by filling from each pixel, as sets of (x, y)."""
    left = {(int(x), int(y)) for y, x in np.argwhere(mask)}
    regions = []
    while left:
        region, waiting = set(), [left.pop()]
        while waiting:
            x, y = waiting.pop()
            region.add((x, y))
            near = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            waiting += near
        regions.append(region)
    return regions


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5, 0.7, 1.0])
def test_regions_are_those_of_a_flood_fill(density):
    """As many, and each with the ends of its rows, on random maps."""
    rng = np.random.default_rng(3)
    for shape in ((17, 23), (1, 30), (30, 1)):
        mask = rng.random(shape) < density
        found = [{(int(x), int(y)) for x, y in points} for points in connected(mask)]
        expected = []
        for region in flooded(mask):
            runs = set()
            for x, y in region:
                if not {(x - 1, y), (x + 1, y)} <= region:
                    runs.add((x, y))
            expected.append(runs)
        assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_no_pixel_no_region():
    """An empty map has none."""
    assert connected(np.zeros((4, 4), bool)) == []


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.2, np.pi / 2])
def test_the_smallest_rectangle_is_the_one_that_was_drawn(angle):
    """Its corners and sides come back at any angle, from points along its sides."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-300, -100], [300, -100], [300, 100], [-300, 100]]) @ turn + 1000
    steps = np.linspace(0, 1, 50)[:, None]
    points = [a + steps * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    found, *sides = smallest_rectangle(np.round(np.concatenate(points)).astype(int))
    assert sorted(sides) == pytest.approx([200, 600], abs=3)
    distances = np.linalg.norm(corners[:, None] - found[None], axis=-1)
    assert distances.min(axis=0).max() < 3


def test_a_point_and_a_line_have_rectangles_too():
    """Without area, and nothing divides by it."""
    corners, *sides = smallest_rectangle(np.array([[5, 6]]))
    assert (corners.tolist(), sides) == ([[5, 6]] * 4, [0, 0])
    _, *sides = smallest_rectangle(np.array([[0, 0], [3, 4], [6, 8]]))
    assert sorted(sides) == pytest.approx([0, 10])


def test_a_rectangle_grows_on_all_sides():
    """Each side moves outwards by the distance, whatever the direction."""
    corners = np.array([[0, 0], [4, 0], [4, 2], [0, 2]], float)
    assert grown(corners, 1).tolist() == [[-1, -1], [5, -1], [5, 3], [-1, 3]]
    turned = np.array([[0, 0], [3, 4], [-1, 7], [-4, 3]], float)
    moved = grown(turned, 5)
    assert np.linalg.norm(moved[1] - moved[0]) == pytest.approx(15)
    assert moved[0].tolist() == pytest.approx([1, -7])


def test_the_mean_is_over_the_pixels_inside():
    """With those on its outline, and only those in the map."""
    values = np.arange(25, dtype=np.float32).reshape(5, 5)
    corners = np.array([[1, 1], [3, 1], [3, 2], [1, 2]], float)
    assert mean_inside(values, corners) == values[1:3, 1:4].mean()
    assert mean_inside(values, corners - 2) == values[0, :2].mean()
    assert mean_inside(values, corners + 20) == 0
