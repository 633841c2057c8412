"""Sums of squared gradients, and several measurements of the same tensors together."""

from dataclasses import replace

import numpy as np
import pytest

from passes.arithmetic import MIN_EXPONENT
from zqc.calibration.histogram import BINS, Histogram, add, empty
from zqc.calibration.squared_gradients import Sensitivity, measured, together


def sensitivity(values, gradients):
    """Of a tensor (N, C) with these values and gradients."""
    squares = np.square(gradients, dtype=np.float64)
    nothing = Histogram(MIN_EXPONENT, np.zeros(BINS))
    counted = add(nothing, values, squares), add(empty(), values)
    return Sensitivity(*counted, squares.sum(axis=0) / len(values))


def test_runs_add_up(rng):
    """Two runs of three and of one picture are as good as one of four: exact."""
    values, gradients = rng.normal(size=(2, 4, 5)).astype(np.float32)
    rest = {"x": values[:3]}, {"x": values[3:]}
    slopes = iter([gradients[:3], gradients[3:]])
    found = measured(lambda _: {"g": next(slopes)}, "x", ["x"], {"x": "g"}, rest)["x"]
    expected = sensitivity(values, gradients)
    np.testing.assert_allclose(found.fisher_diagonal, expected.fisher_diagonal, rtol=1e-12)
    np.testing.assert_allclose(found.squares.counts, expected.squares.counts, rtol=1e-12)
    np.testing.assert_array_equal(found.counts.counts, expected.counts.counts)


def test_the_loss_of_a_tensor_is_that_of_its_own_variance(rng):
    """Fisher diagonal times variance, as the histogram's bins have it: to 1 %."""
    values = rng.normal(3.0, 2.0, (4000, 1)).astype(np.float32)
    found = sensitivity(values, np.full((4000, 1), 0.5))
    assert found.loss == pytest.approx(0.25 * values.astype(np.float64).var(), rel=0.01)
    assert Sensitivity(empty(), empty(), np.ones(1)).loss == 0


def test_measurements_count_the_same_whatever_their_unit(rng):
    """Twice the squares in one change nothing; the mean is that of both at one loss: to 1e-9."""
    values = {"a": rng.normal(size=(50, 2)), "b": rng.normal(size=(50, 3))}
    first, second = (
        {
            name: sensitivity(of.astype(np.float32), rng.normal(size=of.shape))
            for name, of in values.items()
        }
        for _ in range(2)
    )

    def doubled(of):
        squares = replace(of.squares, counts=2 * of.squares.counts)
        return replace(of, squares=squares, fisher_diagonal=2 * of.fisher_diagonal)

    found = together([first, second])
    scale = sum(of.loss for of in first.values()) / sum(of.loss for of in second.values())
    for name, of in found.items():
        expected = (first[name].fisher_diagonal + scale * second[name].fisher_diagonal) / 2
        np.testing.assert_allclose(of.fisher_diagonal, expected, rtol=1e-9)
        squares = (first[name].squares.counts + scale * second[name].squares.counts) / 2
        np.testing.assert_allclose(of.squares.counts, squares, rtol=1e-9)
        again = together([first, {n: doubled(one) for n, one in second.items()}])[name]
        np.testing.assert_allclose(again.fisher_diagonal, of.fisher_diagonal, rtol=1e-9)


def test_what_loses_nothing_is_left_out(rng):
    """Pictures in which nothing is found leave the sensitivities of the outputs as they are."""
    values = rng.normal(size=(9, 2)).astype(np.float32)
    first = {"a": sensitivity(values, rng.normal(size=(9, 2)))}
    nothing = {"a": sensitivity(values, np.zeros((9, 2)))}
    assert together([first, nothing]) == first
