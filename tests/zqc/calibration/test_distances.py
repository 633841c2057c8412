"""What a histogram says of an error is what the values themselves, or the definition, say."""

import numpy as np
import pytest

from passes.arithmetic import Grid
from zqc.calibration.distances import (
    divergence,
    even_spread,
    identity,
    mean_error,
    shifted_errors,
    sigmoid,
    softplus,
)
from zqc.calibration.histogram import BINS, Histogram, add, empty

DISTRIBUTIONS = {
    "Gaussian": lambda rng: rng.normal(0.1, 1.3, 20000),
    "one side": lambda rng: np.abs(rng.normal(0, 5, 20000)),
    "heavy tail": lambda rng: rng.standard_t(3, 20000),
}


def histogram_of(values):
    """Count values."""
    return add(empty(), np.asarray(values, np.float32))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_error_of_a_histogram_is_that_of_the_values(rng, name, power, bits):
    """Wherever a step spans four bins or more, both errors agree within 5 %."""
    values = np.asarray(DISTRIBUTIONS[name](rng), np.float32).astype(np.float64)
    histogram = histogram_of(values)
    for step in (1, 0, -1, -2):
        grid = Grid(histogram.exponent + step, bits, bool(np.any(values < 0)))
        assert grid.scale >= 4 * histogram.width
        true = np.mean(np.abs(grid.nearest(values) - values) ** power)
        assert mean_error(histogram, grid, power=power) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_error_inside_a_fine_grid_is_that_of_even_spread(power):
    """Where a step is no wider than a bin, values inside err evenly and those outside their own.

    Half of the values are at 1, half at 0; the grid of step 2^−12 ends far below 1.
    """
    histogram = histogram_of([1.0] * 3 + [1e-9] * 3)
    grid = Grid(-4, 8, signed=False)
    assert grid.scale <= histogram.width
    outside = 1 - histogram.width / 2 - 255 * grid.scale
    spread = np.linspace(-grid.scale / 2, grid.scale / 2, 100_001)
    expected = (outside**power + np.mean(np.abs(spread) ** power)) / 2
    assert mean_error(histogram, grid, power=power) == pytest.approx(expected, rel=1e-4)
    assert even_spread(1.0, 2) == 1 / np.sqrt(12)


@pytest.mark.parametrize("function", [identity, sigmoid, softplus])
@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("bits", [4, 8])
def test_all_shifts_at_once_are_as_one_by_one(rng, bits, power, function):
    """Sums from the left give the errors of every shift, from fine grids to coarse ones."""
    x = rng.normal(0.5, 3, 50000)
    histogram = histogram_of(x / (1 + np.exp(-x)))
    for exponent in (-6, -2, 1, 4):
        errors = shifted_errors(histogram, exponent, bits=bits, power=power, seen_through=function)
        grids = [Grid(exponent, bits, signed=False, shift=s) for s in range(2 ** (bits - 1) + 1)]
        single = [mean_error(histogram, g, power=power, seen_through=function) for g in grids]
        np.testing.assert_allclose(errors, single, rtol=1e-5)


def plain_divergence(histogram, grid):
    """The definition, one bin after another."""
    low, high = grid.integers[0] - grid.shift, grid.integers[1] - grid.shift
    left = right = 0.0
    reference, levels = [], []
    for centre, count in zip(histogram.centres, histogram.counts, strict=True):
        level = round(centre / grid.scale)  # half to even, as the grid
        if level < low:
            left += count
        elif level > high:
            right += count
        else:
            reference.append(float(count))
            levels.append(level)
    if not sum(reference):
        return np.inf
    inner = list(reference)
    reference[0] += left
    reference[-1] += right
    quantized = [0.0] * len(inner)
    members = {level: [] for level in levels}
    for i, level in enumerate(levels):
        members[level].append(i)
    for here in members.values():
        filled = [i for i in here if reference[i] > 0]
        mass = sum(inner[i] for i in here)
        for i in filled:
            quantized[i] = mass / len(filled)

    def smooth(masses):
        empty_bins = sum(mass == 0 for mass in masses)
        if not empty_bins:
            return [mass / sum(masses) for mass in masses]
        return [
            1e-6 / empty_bins if mass == 0 else mass / sum(masses) * (1 - 1e-6) for mass in masses
        ]

    pairs = zip(smooth(reference), smooth(quantized), strict=True)
    return sum(p * np.log(p / q) for p, q in pairs)


@pytest.mark.parametrize(("bits", "shift"), [(2, None), (2, 1), (4, None), (4, 0), (8, 2)])
def test_divergence_is_that_of_its_definition(rng, bits, shift):
    """Signed, unsigned and shifted grids, from ones that clip most to ones that clip nothing."""
    histogram = histogram_of(rng.laplace(0.2, 0.7, 2000))
    for exponent in (-9, -4, -2, 0, 1, histogram.exponent + 1):
        grid = Grid(exponent, bits, signed=shift is None, shift=shift or 0)
        expected = plain_divergence(histogram, grid)
        assert divergence(histogram, grid) == pytest.approx(expected, rel=1e-9)


def test_clipping_and_merging_both_diverge(rng):
    """A grid that holds everything bin by bin has no divergence; clipping or merging costs some."""
    counts = np.zeros(BINS, np.int64)
    counts[BINS // 2 :] = rng.integers(1, 100, BINS // 2)
    histogram = Histogram(0, counts)
    exact = divergence(histogram, Grid(0, 14, signed=True))
    assert exact == pytest.approx(0, abs=1e-12)
    assert divergence(histogram, Grid(-1, 13, signed=True)) > 0.01
    assert divergence(histogram, Grid(0, 4, signed=True)) > 0.01


def test_a_grid_that_holds_no_value_is_infinitely_far(rng):
    """Such a grid never wins."""
    histogram = histogram_of(rng.uniform(3, 4, 100))
    assert divergence(histogram, Grid(-3, 4, signed=False)) == np.inf
