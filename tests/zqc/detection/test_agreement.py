"""Agreement is summed up over batches."""

import math

import numpy as np
import pytest

from tests.passes.helpers import build_model
from tests.tasks import Counter
from zqc.detection import agreement
from zqc.detection.agreement import (
    AgreementMeter,
    PartAgreement,
    output_agreement,
    output_error,
)


def measure(*batches):
    """Return the agreement over batches of (float, quantized)."""
    meter = AgreementMeter("scores", "scores")
    for reference, quantized in batches:
        meter.update(np.asarray(reference, np.float32), np.asarray(quantized, np.float32))
    return meter.result()


def test_batches_add_up_to_the_whole():
    """SQNR and correlation equal those of all values at once, with an offset of boxes in pixels."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(7, 50)) + 5000).astype(np.float32)
    y = (x + rng.normal(size=(7, 50)) * 0.1).astype(np.float32)
    result = measure(*zip(np.array_split(x, 3), np.array_split(y, 3), strict=True))
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    noise = np.square(wide_x - wide_y).sum()
    expected = 10 * math.log10(np.square(wide_x).sum() / noise)
    assert result.sqnr_db == pytest.approx(expected, abs=1e-6)
    correlation = np.corrcoef(wide_x.ravel(), wide_y.ravel())[0, 1]
    assert result.correlation == pytest.approx(correlation, abs=1e-9)


def test_sqnr_has_its_closed_form():
    """An error of a tenth of every value is 20 dB."""
    assert measure(([1, 2, 3], [1.1, 2.2, 3.3])).sqnr_db == pytest.approx(20, abs=1e-4)


def test_a_perfect_match_is_infinite():
    """No division by zero."""
    result = measure(([1, 2], [1, 2]))
    assert (result.sqnr_db, result.correlation) == (math.inf, 1)


def test_a_match_of_constants_says_nothing():
    """One number everywhere in both models is no perfect match; one value alone may be one."""
    result = measure(([0, 0], [0, 0]))
    assert math.isnan(result.sqnr_db)
    assert "one number everywhere" in result.not_compared
    assert measure(([3], [3])).sqnr_db == math.inf
    assert measure(([0, 0], [0, 1])).sqnr_db == -math.inf


def test_what_was_not_compared_says_so():
    """No values, or another number of instances in one batch of several, are no perfect match."""
    for batches in ([([], [])], [([1, 2], [1, 2]), ([1, 2], [1, 2, 3])]):
        result = measure(*batches)
        assert math.isnan(result.sqnr_db)
        assert result.not_compared
        assert output_error([result]) == 0
    assert "the float model gives 2, the quantized one 3" in result.not_compared


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_integers_are_equal_or_not(dtype):
    """Classes and indices have no SQNR: the share of equal ones counts, over all batches."""
    meter = AgreementMeter("labels", "raw")
    for reference, quantized in (([0, 1, 1, 0], [0, 1, 1, 1]), ([1, 1], [1, 1])):
        meter.update(np.array(reference, dtype), np.array(quantized, dtype))
    result = meter.result()
    assert result.equal == pytest.approx(5 / 6)
    assert math.isnan(result.sqnr_db)
    assert output_error([result]) == pytest.approx(1 / 6)


def test_dead_scores_show():
    """All zeros against scores: 0 dB, no correlation, a single distinct value."""
    result = measure(([0.1, 0.9, 0.5], [0, 0, 0]))
    assert result.sqnr_db == pytest.approx(0, abs=1e-6)
    assert (result.correlation, result.distinct, result.distinct_float) == (0, 1, 3)


def test_noise_over_silence_is_minus_infinity():
    """An all-zero reference has no signal."""
    assert measure(([0, 0], [0, 1])).sqnr_db == -math.inf


def test_opposite_values_have_correlation_minus_one():
    """The sign of the correlation counts."""
    assert measure(([1, 2, 3], [3, 2, 1])).correlation == pytest.approx(-1)


def test_distinct_values_are_counted_across_batches_up_to_a_limit(monkeypatch):
    """A value seen twice counts once; the count stops at the limit."""
    assert measure(([1, 2], [1, 1]), ([2, 3], [1, 4])).distinct_float == 3
    monkeypatch.setattr(agreement, "DISTINCT_LIMIT", 10)
    result = measure((np.arange(30), np.arange(30) // 10), (np.arange(30), np.zeros(30)))
    assert (result.distinct_float, result.distinct) == (10, 3)


TEXT = "(float[n,1,4,4] x) => (float[n,1,4,4] y, float[n,1,4,4] z) { y = Add(x, a) z = Mul(x, b) }"


def network(a, b):
    """Two outputs: x + a and b·x."""
    return build_model(TEXT, a=np.float32(a), b=np.float32(b))


def test_every_output_is_compared():
    """SQNR of each output of each model, against its definition; every picture counts once."""
    x = np.random.default_rng(0).normal(size=(5, 1, 4, 4)).astype(np.float32)
    task = Counter()
    batches = [x[:3], x[3:]]
    same, (added, scaled) = output_agreement(
        network(0, 2), [network(0, 2), network(0.25, 2)], batches, task=task, threads=1
    )
    assert {part.sqnr_db for part in same} == {math.inf}
    assert task.steps == 5
    signal = np.square(x.astype(np.float64)).sum()
    assert added.sqnr_db == pytest.approx(10 * math.log10(signal / (x.size / 16)), abs=1e-4)
    assert scaled.sqnr_db == math.inf


@pytest.mark.parametrize(
    ("sqnrs", "expected"), [((10, 20), 0.11), ((math.inf,), 0.0), ((-math.inf, 3), math.inf)]
)
def test_output_error(sqnrs, expected):
    """Relative squared errors of the parts add up."""
    parts = [PartAgreement("y", "raw", db, 1.0, 2, 2) for db in sqnrs]
    assert output_error(parts) == pytest.approx(expected)


def test_infinity_is_compared_by_where_it_is():
    """The filling of a mask in both is no difference; NaN in one alone is the greatest."""
    assert measure(([1, 2, -math.inf], [1.1, 2.2, -math.inf])).sqnr_db == pytest.approx(
        20, abs=1e-4
    )
    assert measure(([1, 2, 3], [1, 2, math.nan])).sqnr_db == -math.inf
    assert "no numbers" in measure(([math.nan], [math.nan])).not_compared
    assert measure(([1, 2], [math.nan, math.nan])).sqnr_db == -math.inf
