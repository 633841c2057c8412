"""Rounding with compensation is the published algorithm, and does what it is for."""

import numpy as np
import pytest

from passes.arithmetic import fake_quantize
from passes.quantize.rounding import Compensation


def moments_of(rng, columns, samples=400):
    """Second moments of correlated inputs of uneven size."""
    mixing = rng.normal(size=(columns, columns)) + np.eye(columns)
    x = rng.normal(size=(samples, columns)) @ mixing * rng.uniform(0.2, 2, columns)
    return x.T @ x / samples


def one_by_one(row, moments, scale, low, high):
    """Optimal brain quantization, naively: invert again after every column (arXiv 2208.11580)."""
    damped = moments + 0.01 * np.mean(np.diag(moments)) * np.eye(len(row))
    open_columns = list(np.argsort(-np.diag(moments), kind="stable"))
    weights, integers = row.astype(np.float64).copy(), np.zeros(len(row))
    while open_columns:
        inverse = np.linalg.inv(damped[np.ix_(open_columns, open_columns)])
        first = open_columns[0]
        integers[first] = np.clip(np.rint(weights[first] / scale), low, high)
        error = weights[first] - scale * integers[first]
        weights[open_columns] -= error / inverse[0, 0] * inverse[:, 0]
        open_columns = open_columns[1:]
    return integers


@pytest.mark.parametrize("columns", [12, 32, 75])
@pytest.mark.parametrize("bits", [4, 8])
def test_equals_the_naive_algorithm(rng, bits, columns):
    """The Cholesky form, in parts of 32 columns, is the form that inverts at every step."""
    weight = rng.normal(size=(6, columns))
    moments = moments_of(rng, columns)
    scale = np.full(6, 2.0 ** (2 - bits))
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    expected = [one_by_one(row, moments, scale[0], low, high) for row in weight]
    np.testing.assert_array_equal(
        Compensation.of(moments).rounded(weight, scale, bits=bits).integers, expected
    )


def test_the_error_is_that_of_the_rounding(rng):
    """The error of a row that comes with it is (w − Δq)ᵀ M (w − Δq) of the damped M (1e-9)."""
    weight, moments = rng.normal(size=(6, 75)), moments_of(rng, 75)
    found = Compensation.of(moments).rounded(weight, np.full(6, 0.25), bits=4)
    damped = moments + 0.01 * np.mean(np.diag(moments)) * np.eye(75)
    error = weight - 0.25 * found.integers
    expected = np.einsum("rk,kl,rl->r", error, damped, error)
    np.testing.assert_allclose(found.errors, expected, rtol=1e-9)


def test_matrices_of_a_stack_are_independent(rng):
    """Each of 2 × 3 matrices is rounded as it is alone, with the steps of its group."""
    weight = rng.normal(size=(2, 3, 5, 9))
    moments = np.array([[moments_of(rng, 9) for _ in range(3)] for _ in range(2)])
    scale = rng.uniform(0.1, 0.4, (2, 1, 5))
    stacked = Compensation.of(moments).rounded(weight, scale, bits=4).integers
    for g, b in np.ndindex(2, 3):
        alone = Compensation.of(moments[g, b]).rounded(weight[g, b], scale[g, 0], bits=4).integers
        np.testing.assert_array_equal(stacked[g, b], alone)


def test_error_of_the_product_is_smaller(rng):
    """On correlated inputs the error of the output falls by a third at least, at 4 bits."""
    weight = rng.normal(size=(32, 24)).astype(np.float32)
    moments = moments_of(rng, 24)
    scale = np.full(32, 0.5, np.float32)
    plain = fake_quantize(weight, scale[:, None], bits=4, signed=True) - weight
    better = (
        Compensation.of(moments).rounded(weight, scale, bits=4).integers * scale[:, None] - weight
    )
    errors = [np.einsum("rk,kl,rl->", e, moments, e) for e in (plain, better)]
    assert errors[1] < errors[0] * 2 / 3


@pytest.mark.parametrize("moments", [np.eye(9) * 3, np.zeros((9, 9)), np.diag(np.arange(9.0))])
def test_uncorrelated_inputs_change_nothing(rng, moments):
    """Without correlation, and for dead inputs, it is rounding to the nearest."""
    weight = rng.normal(size=(4, 9)).astype(np.float32)
    scale = np.float32([0.125, 0.25, 0.5, 1])
    integers = Compensation.of(moments).rounded(weight, scale, bits=4).integers
    expected = fake_quantize(weight, scale[:, None], bits=4, signed=True)
    np.testing.assert_array_equal(integers * scale[:, None], expected)


def test_integers_stay_in_range(rng):
    """Compensation cannot push a weight beyond the grid."""
    weight = rng.normal(size=(16, 10)) * 5
    integers = (
        Compensation.of(moments_of(rng, 10)).rounded(weight, np.full(16, 0.25), bits=4).integers
    )
    assert np.array_equal(integers, np.rint(integers))
    assert (integers.min(), integers.max()) == (-8, 7)


def errors_of(weight, moments, scale, *, bits):
    """Error of the product, summed over the rows: rounded to the nearest, and compensated."""
    plain = fake_quantize(weight, scale[:, None], bits=bits, signed=True)
    better = Compensation.of(moments).rounded(weight, scale, bits=bits).integers * scale[:, None]
    return [np.einsum("rk,kl,rl->", e, moments, e) for e in (plain - weight, better - weight)]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("samples", [6, 30, 400])
def test_it_is_no_worse_on_average(bits, samples):
    """Over twenty random layers, the error is smaller in sum, also from few or dead inputs."""
    totals = np.zeros(2)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moments = moments_of(rng, 18, samples)
        dead = rng.choice(18, 3, replace=False)
        moments[dead], moments[:, dead] = 0, 0
        weight = rng.normal(size=(8, 18))
        scale = np.exp2(rng.integers(-1, 2, 8) - bits + 2.0)
        totals += errors_of(weight, moments, scale, bits=bits)
    assert totals[1] < 0.8 * totals[0]


def test_two_inputs_that_are_one():
    """Of two halves on one and the same input, one is rounded down and the other up: no error."""
    weight, moments = np.array([[0.4, 0.4, 0.2]]), np.ones((3, 3))
    plain, better = errors_of(weight, moments, np.ones(1), bits=4)
    assert plain == pytest.approx(1)
    assert better == pytest.approx(0, abs=1e-9)


def test_dead_inputs_leave_the_others_alone(rng):
    """Rows of zeros in the moments give no NaN and round to the nearest; others hardly change.

    What may change comes from the damping, a share of the mean of the diagonal.
    """
    live = np.array([0, 2, 3, 5, 6])
    weight = rng.normal(size=(7, 8))
    moments = np.zeros((8, 8))
    moments[np.ix_(live, live)] = moments_of(rng, 5)
    integers = Compensation.of(moments).rounded(weight, np.full(7, 2.0**-6), bits=8).integers
    assert np.isfinite(integers).all()
    few = moments[np.ix_(live, live)]
    alone = Compensation.of(few).rounded(weight[:, live], np.full(7, 2.0**-6), bits=8).integers
    assert np.mean(integers[:, live] == alone) > 0.9
    nearest = np.clip(np.rint(weight * 64), -128, 127)
    dead = np.setdiff1d(np.arange(8), live)
    np.testing.assert_array_equal(integers[:, dead], nearest[:, dead])
