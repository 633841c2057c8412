"""Histograms nest: no order of counting loses anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.arithmetic import MIN_EXPONENT
from zqc.calibration.histogram import BINS, Histogram, add, empty, widen, without_outliers

POWERS = st.builds(lambda k, sign: sign * 2.0**k, st.integers(-20, 20), st.sampled_from([-1, 1]))
NUMBERS = st.one_of(st.floats(-1e6, 1e6, width=32), st.floats(-1, 1, width=32), POWERS)


def of(*chunks):
    """The histogram of several arrays, counted one after another."""
    histogram = empty()
    for chunk in chunks:
        histogram = add(histogram, np.asarray(chunk, np.float32))
    return histogram


def direct(values, exponent):
    """Counts by a search for the edges; a value on an edge belongs to the side of zero."""
    first_last = np.linspace(-(2.0**exponent), 2.0**exponent, BINS + 1)
    exact = np.asarray(values, np.float64)
    below, above = (np.searchsorted(first_last, exact, side=side) - 1 for side in ("left", "right"))
    positions = np.where(exact > 0, below, above)
    return np.bincount(positions, minlength=BINS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(NUMBERS, max_size=6), min_size=1, max_size=6), st.randoms())
def test_every_order_of_chunks_gives_the_same_counts(chunks, random):
    """One array, its parts, and its parts in another order end in equal counts and range."""
    shuffled = random.sample(chunks, len(chunks))
    whole, parts, others = of(np.concatenate(chunks)), of(*chunks), of(*shuffled)
    assert whole.exponent == parts.exponent == others.exponent
    np.testing.assert_array_equal(whole.counts, parts.counts)
    np.testing.assert_array_equal(whole.counts, others.counts)


@pytest.mark.parametrize("size", [1e-3, 1.0, 3.0, 700.0])
def test_counts_are_those_of_numpy(rng, size):
    """Every value lies in the bin that a search for its edges finds."""
    values = rng.normal(0, size, 5000).astype(np.float32)
    histogram = of(values)
    assert np.abs(values).max() <= 2.0**histogram.exponent < 2 * np.abs(values).max()
    np.testing.assert_array_equal(histogram.counts, direct(values, histogram.exponent))


def test_doubling_preserves_counts(rng):
    """A wider range holds the same number of values, in bins that are those of a direct count."""
    values = rng.normal(size=1000).astype(np.float32)
    narrow = of(values)
    for steps in (1, 2, 5):
        wide = widen(narrow, narrow.exponent + steps)
        assert wide.width == narrow.width * 2**steps
        np.testing.assert_array_equal(wide.counts, direct(values, wide.exponent))


@pytest.mark.parametrize("exponent", [13, 14, 40])
def test_doubling_far_leaves_two_bins(exponent):
    """Far above all values only the bins beside zero are filled, by sign."""
    wide = widen(of([0.5, 0.75, -0.5]), exponent)
    assert wide.counts.sum() == 3
    assert wide.counts[BINS // 2 - 1 : BINS // 2 + 1].tolist() == [1, 2]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("k", [MIN_EXPONENT, -3, 0, 5])
def test_a_power_of_two_ends_the_range(k, sign):
    """±2^k is in the outermost bin of the range 2^k and stays there when the range grows."""
    histogram = of([sign * 2.0**k])
    assert histogram.exponent == k
    for wider in (histogram, widen(histogram, k + 1), widen(histogram, k + 3)):
        (position,) = np.flatnonzero(wider.counts)
        assert wider.centres[position] == sign * (2.0**k - wider.width / 2)


def test_values_on_edges(rng):
    """Multiples of the width are counted where numpy finds them, on both sides of zero."""
    values = (rng.integers(-BINS // 2, BINS // 2 + 1, 4000) * 2.0 ** (3 - 12)).astype(np.float32)
    values[0] = 8
    histogram = of(values)
    assert histogram.width == 2.0 ** (3 - 12)
    np.testing.assert_array_equal(histogram.counts, direct(values, 3))


def test_zeros_have_the_smallest_range():
    """Zeros are counted from zero on, in the smallest range; nothing at all is counted nowhere."""
    histogram = of(np.zeros(7))
    assert (histogram.exponent, histogram.counts[BINS // 2]) == (MIN_EXPONENT, 7)
    assert of([]).counts.sum() == 0
    assert empty().counts.sum() == 0


def test_centres_are_half_a_bin_from_the_edges():
    """The outermost centres are half a width inside the range."""
    histogram = of([3.0])
    assert histogram.width == 8 / BINS
    assert histogram.centres[0] == -4 + histogram.width / 2
    assert histogram.centres[-1] == 4 - histogram.width / 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_raises(bad):
    """One such value among good ones is an error."""
    with pytest.raises(FloatingPointError, match="not a number"):
        of([1.0, bad, 2.0])


def test_weights_take_the_place_of_counts(rng):
    """Each bin holds the sum of the weights of its values, also after the range has grown."""
    values = rng.normal(size=2000).astype(np.float32)
    weights = rng.random(2000)
    nothing = Histogram(MIN_EXPONENT, np.zeros(BINS))
    histogram = add(add(nothing, values[:900] / 8, weights[:900]), values[900:], weights[900:])
    seen = np.concatenate([values[:900] / 8, values[900:]])
    first_last = np.linspace(-(2.0**histogram.exponent), 2.0**histogram.exponent, BINS + 1)
    expected, _ = np.histogram(seen, first_last, weights=weights)
    np.testing.assert_allclose(histogram.counts, expected, rtol=1e-6)


@pytest.mark.parametrize("z", [1.5, 3.0, 8.0])
def test_outliers_are_forgotten(rng, z):
    """What stays are the values within z deviations of the mean, to the width of a bin."""
    values = np.append(rng.normal(2, 1, 5000), [90.0, -70.0]).astype(np.float32)
    histogram = of(values)
    kept = without_outliers(histogram, z=z)
    assert kept.exponent == histogram.exponent
    distances = np.abs(values - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)
    slack = histogram.width / values.std()
    assert (distances < z - slack).sum() <= kept.counts.sum() <= (distances < z + slack).sum()
    assert kept.counts.sum() < histogram.counts.sum()


def test_by_default_no_value_is_an_outlier(rng):
    """Without a limit, and where all values are alike, nothing is forgotten."""
    many, one, none = of(rng.standard_cauchy(1000)), of([3.0] * 5), empty()
    np.testing.assert_array_equal(without_outliers(many).counts, many.counts)
    np.testing.assert_array_equal(without_outliers(one, z=5).counts, one.counts)
    np.testing.assert_array_equal(without_outliers(none, z=5).counts, none.counts)
