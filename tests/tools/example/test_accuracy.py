"""Cells of the tables, and the noise that they are compared with."""

import numpy as np

from tools.example.accuracy import NOISE, cell, spread, write_noise
from tools.example.scenes import SIZE


def test_cells():
    """The mean in percent; with several seeds their range behind it."""
    assert cell([0.5]) == "50.0"
    assert cell([0.5, 0.25, 0.3]) == "35.0 (25.0…50.0)"
    assert spread([1, 2]) == "1.5 (1.0…2.0)"


def test_grey_noise_has_three_equal_channels(tmp_path):
    """A seed gives the same noise, in three channels or in one that is repeated."""
    with np.load(write_noise(tmp_path / "grey.npz", seed=1, channels=1)) as file:
        grey = file["images"]
    with np.load(write_noise(tmp_path / "colour.npz", seed=1)) as file:
        colour = file["images"]
    assert grey.shape == colour.shape == (NOISE, 3, SIZE, SIZE)
    np.testing.assert_array_equal(grey[:, 0], grey[:, 2])
    assert not np.array_equal(colour[:, 0], colour[:, 2])
