"""The grid that a histogram chooses is the best for the values themselves."""

from typing import get_args

import numpy as np
import pytest

from passes.arithmetic import MIN_EXPONENT, Grid, fake_quantize
from zqc.calibration.distances import divergence, identity, sigmoid, softplus
from zqc.calibration.histogram import add, empty
from zqc.calibration.thresholds import CANDIDATES, Method, choose_grid, grid_up_to
from zqc.recipe.recipe import SHIFTS

METHODS = get_args(Method)

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
    kept = choose_grid(seen, bits=8, signed=True, seen_through=softplus, keeps_up_to=1.0)
    assert free.threshold < 9.0 <= kept.threshold == 16.0
    roomy = choose_grid(seen, bits=8, signed=True, seen_through=softplus, keeps_up_to=2.0)
    assert roomy.threshold == 32.0


def silu(rng, size=20000):
    """Outputs of a SiLU: at least −0.28."""
    x = rng.normal(0.5, 2, size)
    return (x / (1 + np.exp(-x))).astype(np.float32)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("method", "p", "power"), [("mae", 2, 1), ("lp", 3, 3), ("lp", 2, 2)])
@pytest.mark.parametrize("name", ["Gaussian", "Laplace", "rectified", "uniform", "heavy tail"])
def test_powers_of_the_error(rng, name, method, p, power, bits):
    """No exponent has a mean p-th power of the error that is smaller by more than 3 %."""
    values = np.asarray(DISTRIBUTIONS[name](rng), np.float32).astype(np.float64)
    signed = bool(np.any(values < 0))
    chosen = choose_grid(histogram_of(values), bits=bits, signed=signed, method=method, p=p)

    def true(exponent):
        rounded = Grid(exponent, bits, signed).nearest(values)
        return np.mean(np.abs(rounded - values) ** power)

    assert true(chosen.exponent) <= 1.03 * min(true(k) for k in range(MIN_EXPONENT, 12))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_divergence_is_the_least_of_all_candidates(rng, name, bits):
    """``kl`` takes the threshold with the least divergence, which a search by hand finds, too."""
    values = DISTRIBUTIONS[name](rng)
    signed = bool(np.any(values < 0))
    histogram = histogram_of(values)
    chosen = choose_grid(histogram, bits=bits, signed=signed, method="kl")
    top = int(np.ceil(np.log2(np.abs(values).max()))) + 1
    divergences = {
        k: divergence(histogram, Grid(k, bits, signed)) for k in range(top, top - CANDIDATES, -1)
    }
    assert divergences[chosen.exponent] == min(divergences.values()) < np.inf


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_no_search_clips_nothing(rng, name, bits):
    """``none`` takes the smallest power of two that no value exceeds."""
    values = np.asarray(DISTRIBUTIONS[name](rng), np.float32)
    grid = choose_grid(
        histogram_of(values), bits=bits, signed=bool(np.any(values < 0)), method="none"
    )
    assert grid.threshold / 2 < np.abs(values).max() <= grid.threshold


@pytest.mark.parametrize("bits", [4, 8])
def test_the_search_over_shifts_finds_the_best_one(rng, bits):
    """Of all thresholds, signed and at every shift, none is better by more than 2 %."""
    values = silu(rng)
    chosen = choose_grid(histogram_of(values), bits=bits, signed=True, shift="search")
    grids = [Grid(k, bits, signed=True) for k in range(-8, 8)]
    shifts = range(0, 2 ** (bits - 1), 2 if bits == 8 else 1)
    grids += [Grid(k, bits, signed=False, shift=s) for k in range(-8, 8) for s in shifts]
    exact = values.astype(np.float64)
    errors = {grid: np.mean((grid.nearest(exact) - exact) ** 2) for grid in grids}
    assert not chosen.signed
    assert errors[chosen] <= 1.02 * min(errors.values())


@pytest.mark.parametrize("method", METHODS)
def test_a_symmetric_tensor_keeps_its_grid(rng, method):
    """Where both sides are alike nothing is better than the signed grid, or its mirror image."""
    histogram = histogram_of(rng.uniform(-3.9, 3.9, 20000))
    signed, ruled, searched = (
        choose_grid(histogram, bits=4, signed=True, method=method, shift=shift) for shift in SHIFTS
    )
    assert signed == ruled
    low, high = signed.bounds
    assert searched.bounds in {(low, high), (-high, -low)}


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("smallest", [-0.3, -0.25, -0.9, -1.01])
def test_the_rule_of_the_paper(bits, smallest):
    """Up to a quarter of the threshold below zero, the least shift holds the smallest value."""
    values = np.append(np.linspace(0, 3.9, 1000), smallest).astype(np.float32)
    signed = choose_grid(histogram_of(values), bits=bits, signed=True)
    assert signed.threshold == 4
    grid = choose_grid(histogram_of(values), bits=bits, signed=True, shift="rule")
    if smallest < -1:
        assert grid == signed
        return
    assert (grid.exponent, grid.signed) == (2, False)
    stride = 2 if bits == 8 else 1
    assert grid.shift % stride == 0
    assert grid.bounds[0] <= values[-1] < grid.bounds[0] + stride * grid.scale


@pytest.mark.parametrize("shift", ["rule", "search"])
@pytest.mark.parametrize("method", METHODS)
def test_even_shifts_on_request(method, shift):
    """At 4 bits no odd shift is chosen, and where the best one is even it stays."""
    odd = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.normal(0, 1, 5000) + rng.uniform(0.2, 1.2)
        histogram = histogram_of(np.maximum(x, 0.1 * x))
        options = {"bits": 4, "signed": True, "method": method, "shift": shift}
        free, even = (choose_grid(histogram, even=e, **options) for e in (False, True))
        assert even.shift % 2 == 0
        odd += free.shift % 2
        assert free.shift % 2 or even == free
    assert odd


@pytest.mark.parametrize("shift", SHIFTS)
def test_unsigned_tensors_are_never_shifted(rng, shift):
    """Without negative values there is nothing to shift."""
    histogram = histogram_of(np.abs(rng.normal(0, 1, 5000)))
    plain = choose_grid(histogram, bits=8, signed=False)
    assert choose_grid(histogram, bits=8, signed=False, shift=shift) == plain


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_the_top_is_kept_by_every_method(method, shift):
    """However rare the largest value is, no grid ends more than a step below it."""
    middle = np.random.default_rng(0).uniform(-0.2, 1, 100_000)
    seen = histogram_of(np.append(middle, 7.9))
    grid = choose_grid(
        seen,
        bits=8,
        signed=True,
        seen_through=softplus,
        keeps_up_to=1.0,
        method=method,
        shift=shift,
    )
    assert grid.bounds[1] + grid.scale >= 7.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", SHIFTS)
def test_nothing_seen_gets_a_small_grid(method, shift):
    """A tensor without values has the smallest threshold, whatever the method."""
    grid = choose_grid(empty(), bits=4, signed=True, method=method, shift=shift)
    assert grid == Grid(MIN_EXPONENT, 4, signed=True)


@pytest.mark.parametrize(("bound", "threshold"), [(1.0, 1), (6.0, 8), (0.7, 1), (8.5, 16)])
def test_the_grid_is_the_smallest_that_reaches_the_bound(bound, threshold):
    """Its threshold is the next power of two."""
    grid = grid_up_to(bound, bits=4)
    assert (grid.threshold, grid.signed, grid.shift) == (threshold, False, 0)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_a_long_negative_tail_does_not_widen_the_grid(rng, function, bits):
    """The threshold is smaller than the one of least squared error, and so is the error of f(x)."""
    logits = np.append(rng.normal(-18, 5, 20000), rng.normal(0, 2, 600)).astype(np.float32)
    histogram = add(empty(), logits)
    plain, seen = (
        choose_grid(histogram, bits=bits, signed=True, seen_through=f) for f in (identity, function)
    )
    assert seen.exponent < plain.exponent
    exact = function(logits.astype(np.float64))
    errors = []
    for grid in (plain, seen):
        rounded = fake_quantize(logits, grid.scale, bits=bits, signed=True)
        errors.append(np.mean((function(rounded.astype(np.float64)) - exact) ** 2))
    assert errors[1] < errors[0] / 2


@pytest.mark.parametrize("function", [sigmoid, softplus])
def test_every_grid_is_good_enough_for_logits_that_say_nothing(function):
    """Where all scores are 0 on any grid, a choice is still made and holds the scores at 0."""
    logits = np.linspace(-300, -200, 1000).astype(np.float32)
    grid = choose_grid(add(empty(), logits), bits=8, signed=True, seen_through=function)
    rounded = fake_quantize(logits, grid.scale, bits=8, signed=True)
    assert function(rounded.astype(np.float64)).max() < 1e-3
