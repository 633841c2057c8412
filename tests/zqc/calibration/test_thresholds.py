"""The grid that a histogram chooses is the best for the values themselves."""

import numpy as np
import pytest

from passes.arithmetic import MIN_EXPONENT, Grid, fake_quantize
from zqc.calibration.histogram import add, empty
from zqc.calibration.thresholds import choose_grid, mean_squared_error, sigmoid, softplus

DISTRIBUTIONS = {
    "Gaussian": lambda rng: rng.normal(0.1, 1.3, 20000),
    "Laplace": lambda rng: rng.laplace(0, 0.2, 20000),
    "rectified": lambda rng: np.maximum(rng.normal(0, 5, 20000), 0),
    "uniform": lambda rng: rng.uniform(-3, 1, 20000),
    "heavy tail": lambda rng: rng.standard_t(3, 20000),
    "gate": lambda rng: np.clip(rng.normal(0.5, 0.5, 20000), 0, 1),
    "pixels": lambda rng: rng.integers(0, 256, 20000) / 255,
    "outlier": lambda rng: np.append(rng.normal(0, 0.01, 20000), 50),
}


def histogram_of(values):
    """Count values in three parts."""
    histogram = empty()
    for part in np.array_split(np.asarray(values, np.float32), 3):
        histogram = add(histogram, part)
    return histogram


def true_error(values, grid):
    """Mean squared error over the values themselves."""
    exact = np.asarray(values, np.float32).astype(np.float64)
    rounded = fake_quantize(exact, grid.scale, bits=grid.bits, signed=grid.signed)
    return float(np.mean((rounded - exact) ** 2))


def best_error(values, *, bits, signed):
    """The least error of all exponents, by brute force over the values."""
    exponents = range(MIN_EXPONENT, 12)
    return min(true_error(values, Grid(k, bits, signed)) for k in exponents)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_grid_is_the_best_one(rng, name, bits):
    """No exponent is better by more than 2 %, which is what bins may hide."""
    values = DISTRIBUTIONS[name](rng)
    signed = bool(np.any(values < 0))
    grid = choose_grid(histogram_of(values), bits=bits, signed=signed)
    assert (grid.bits, grid.signed) == (bits, signed)
    assert true_error(values, grid) <= 1.02 * best_error(values, bits=bits, signed=signed)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("value", [1.0, -1.0, 0.3, 7.99, 1e-3, -120.0])
def test_a_single_value(bits, value):
    """A tensor of one value gets a grid on which that value is within a bin of the best."""
    histogram = histogram_of([value] * 9)
    signed = value < 0
    grid = choose_grid(histogram, bits=bits, signed=signed)
    best = np.sqrt(best_error([value], bits=bits, signed=signed))
    assert np.sqrt(true_error([value], grid)) <= best + histogram.width


@pytest.mark.parametrize("signed", [True, False])
def test_zero_and_nothing_get_a_small_grid(signed):
    """A tensor that was always zero, or never seen, is still zero on its grid."""
    for histogram in (histogram_of(np.zeros(5)), empty()):
        grid = choose_grid(histogram, bits=8, signed=signed)
        assert grid.exponent <= MIN_EXPONENT + 2
        assert true_error([0.0], grid) == 0


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", ["Gaussian", "rectified", "heavy tail"])
def test_the_error_of_a_histogram_is_that_of_the_values(rng, name, bits):
    """Wherever a step spans four bins or more, both errors agree within 5 %."""
    values = DISTRIBUTIONS[name](rng)
    signed = bool(np.any(values < 0))
    histogram = histogram_of(values)
    grids = [Grid(histogram.exponent + shift, bits, signed) for shift in (1, 0, -1, -2)]
    for grid in grids:
        assert grid.scale >= 4 * histogram.width
        error = mean_squared_error(histogram, grid)
        assert error == pytest.approx(true_error(values, grid), rel=0.05)


def test_the_error_inside_a_fine_grid_is_that_of_even_spread():
    """Where a step is no wider than a bin, values inside have Δ²/12 and values outside their own.

    Half of the values are at 1, half at 0; the grid of step 2^−12 ends far below 1.
    """
    histogram = histogram_of([1.0] * 3 + [1e-9] * 3)
    grid = Grid(-4, 8, signed=False)
    assert grid.scale <= histogram.width
    top = 255 * grid.scale
    expected = ((1 - histogram.width / 2 - top) ** 2 + grid.scale**2 / 12) / 2
    assert mean_squared_error(histogram, grid) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("function", "reference"),
    [(sigmoid, lambda x: 1 / (1 + np.exp(-x))), (softplus, lambda x: np.log1p(np.exp(x)))],
)
def test_functions_of_logits(function, reference):
    """They are the textbook formulas, and finite far from zero where those are not."""
    x = np.linspace(-30, 30, 101)
    np.testing.assert_allclose(function(x), reference(x), rtol=1e-9, atol=1e-15)
    assert np.isfinite(function(np.array([-1e4, 1e4]))).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_logits_are_judged_by_what_they_become(rng, function, bits):
    """No grid has an error of f(x) that is smaller by more than 2 %, by brute force."""
    logits = np.append(rng.normal(-15, 4, 20000), rng.normal(0, 2, 500)).astype(np.float32)
    exact = logits.astype(np.float64)

    def true(exponent):
        grid = Grid(exponent, bits, signed=True)
        rounded = fake_quantize(exact, grid.scale, bits=bits, signed=True)
        return np.mean((function(rounded) - function(exact)) ** 2)

    chosen = choose_grid(histogram_of(logits), bits=bits, signed=True, seen_through=function)
    assert true(chosen.exponent) <= 1.02 * min(true(k) for k in range(MIN_EXPONENT, 12))


def test_keeping_the_top_clips_only_the_other_side():
    """The threshold holds the largest value, however rare, and may cut off the negative tail."""
    middle = np.random.default_rng(0).uniform(0, 1, 100_000)
    rare_top = np.concatenate([middle, np.full(3_000, -50.0), [9.0]])
    seen = add(empty(), rare_top.astype(np.float32))
    free = choose_grid(seen, bits=8, signed=True, seen_through=softplus)
    kept = choose_grid(seen, bits=8, signed=True, seen_through=softplus, keeps_top=True)
    assert free.threshold < 9.0 <= kept.threshold == 16.0
