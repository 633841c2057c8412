"""Levels of weights: their sets, the nearest of them, and the best for a channel."""

import numpy as np
import pytest

from passes.analysis.log_affine import (
    WIDTHS,
    best_levels,
    finder,
    level_sets,
    nearest,
    nearest_levels,
    sets_of,
)
from passes.arithmetic import scales, weight_exponents


def channels(rng, count=24, size=400):
    """Weights with peaks of different sharpness, as trained ones have."""
    return rng.laplace(size=(count, size)) * np.exp2(rng.uniform(-6, 3, (count, 1)))


def error(rows, exponents, sets, bits):
    """The squared error of every channel with the nearest level of its set, found one by one."""
    step = scales(exponents, bits=7, signed=True).astype(np.float64)[:, None]
    values = level_sets(bits)[sets].astype(np.float64) * step
    return np.square(rows[..., None] - values[:, None, :]).min(axis=-1).sum(axis=1)


@pytest.mark.parametrize("bits", WIDTHS)
def test_sets_are_of_the_formula(bits):
    """Rising integers with zero among them; the first is uniform, the last the most bent."""
    sets = level_sets(bits).astype(int)
    half = 1 << (bits - 1)
    assert np.all(np.diff(sets) > 0)
    assert np.all(sets[:, half] == 0)
    np.testing.assert_array_equal(sets[0], np.arange(-half, half) * (128 >> bits))
    share, ratio = 2 ** (-3 / 4), 2**0.5
    bent = 64 * share * (ratio ** np.arange(half + 1) - 1) / (ratio**half - 1)
    np.testing.assert_array_equal(sets[-1, half:], np.rint(bent[:-1]))
    np.testing.assert_array_equal(sets[-1, :half], -np.rint(bent[:0:-1]))


@pytest.mark.parametrize("bits", WIDTHS)
def test_nearest(bits, rng):
    """No level is nearer than the one that is returned, beyond the ends as well."""
    levels = level_sets(bits)[rng.integers(0, 16, 7)].astype(np.float64)
    steps = rng.uniform(-200, 200, (50, 7))
    found = nearest(steps, levels)
    np.testing.assert_allclose(
        np.abs(steps - found), np.abs(steps[..., None] - levels).min(axis=-1), rtol=0, atol=1e-12
    )
    at_middles = np.concatenate([steps, (levels[:, 1:] + levels[:, :-1]).T / 2])
    np.testing.assert_array_equal(finder(levels)(at_middles), nearest(at_middles, levels))
    table = nearest_levels(bits)
    np.testing.assert_array_equal(
        table[5], nearest(np.arange(-64.0, 64.0), level_sets(bits)[5].astype(np.float64))
    )


@pytest.mark.parametrize("bits", WIDTHS)
def test_best_of_all(bits, rng):
    """What is chosen is within a thousandth of the least error of all thresholds and sets."""
    rows = channels(rng)
    least = np.full(len(rows), -16)
    exponents, sets = best_levels(rows, bits, least, 3)
    errors = [error(rows, e, s, bits) for e, s in zip(exponents, sets, strict=True)]
    every = [
        error(rows, exponents[0] + change, np.full(len(rows), s), bits)
        for change in range(-4, 5)
        for s in range(16)
    ]
    np.testing.assert_array_less(errors[0], np.min(every, axis=0) * 1.001)
    assert np.all(errors[2] >= errors[0] * 0.999)


def test_better_than_uniform_levels(rng):
    """Peaked weights lose less than two thirds of what the best power-of-two grid loses."""
    rows = channels(rng)
    exponents, sets = best_levels(rows, 4, np.full(len(rows), -16), 1)
    uniform = weight_exponents(rows, bits=4, axis=0)
    step = scales(uniform, bits=4, signed=True)[:, None]
    on_grid = np.clip(np.rint(rows / step), -8, 7) * step
    lost = np.square(rows - on_grid).sum(axis=1)
    ratio = error(rows, exponents[0], sets[0], 4).sum() / lost.sum()
    assert ratio < 2 / 3


def test_bias_limits_the_threshold(rng):
    """A threshold is never below what the bias of the channel needs."""
    rows = channels(rng)
    exponents, _ = best_levels(rows, 4, np.full(len(rows), 5), 3)
    assert exponents.min() >= 5


@pytest.mark.parametrize("bits", WIDTHS)
def test_sets_are_found_by_the_weights(bits, rng):
    """A set is found that has every weight of the channel, or none if there is none."""
    sets = level_sets(bits)
    chosen = rng.integers(0, len(sets), 40)
    places = rng.integers(0, 1 << bits, (40, 100))
    rows = np.take_along_axis(sets[chosen], places, axis=1)
    found = sets_of(rows, bits)
    assert found is not None
    for row, of in zip(rows, found, strict=True):
        assert set(row) <= set(sets[of])
    assert np.mean(found == chosen) > 0.9
    rows[3, 5] = 64
    assert sets_of(rows, bits) is None
