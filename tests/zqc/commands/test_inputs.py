"""What calibration pictures are made with; the ways to get them are compiled in test_compiler."""

import numpy as np
import pytest

from zqc.commands.inputs import CalibrationSource, noise, objective, schedule
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.pictures.structured_noise import structured_noise
from zqc.recipe.recipe import EFFORTS, TERMS, Recipe

SIGNED = InputFormat.from_range(-1, 1)


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_number_of_pictures_may_be_chosen(effort):
    """The effort decides how many there are where the recipe does not, and the steps."""
    usual, chosen = (schedule(Recipe(effort=effort, samples=n, seed=3)) for n in (None, 5))
    assert (chosen.samples, chosen.steps, chosen.seed) == (5, usual.steps, 3)
    assert usual.samples >= 16
    assert noise((1, 4, 4), Recipe(effort=effort), SIGNED).shape == (usual.samples, 1, 4, 4)


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("tied", [False, True])
def test_the_objective_is_that_of_the_recipe(terms, tied):
    """Terms and tied channels reach the synthesis."""
    made = objective(Recipe(bn_terms=terms, tie_channels=tied))
    assert (made.terms, made.tie_channels) == (terms, tied)


def test_noise_in_the_input_format():
    """Structured noise of the seed, from -1 to 1 (1e-6)."""
    found = noise((3, 8, 6), Recipe(samples=4, seed=2), SIGNED)
    expected = 2 * structured_noise(4, (3, 8, 6), 2) - 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_tied_channels_of_noise_are_the_same():
    """One grey picture in all channels."""
    found = noise((3, 8, 6), Recipe(samples=4, tie_channels=True), InputFormat(bgr=True))
    assert found.shape == (4, 3, 8, 6)
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 3, axis=1))
    assert np.ptp(found) > 0.2


def test_one_source_or_none(tmp_path):
    """No source is the model itself; two exclude each other by the names of their options."""
    assert CalibrationSource() == CalibrationSource(
        images=None, statistics=None, no_statistics=False
    )
    with pytest.raises(OptionError, match="--images and --no-statistics exclude each other"):
        CalibrationSource(images=tmp_path, no_statistics=True)
