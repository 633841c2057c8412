"""The outputs of two models over the calibration pictures."""

import math

import numpy as np
import pytest

from tests.passes.helpers import build_model
from tests.tasks import Counter
from zqc.detection.agreement import PartAgreement, output_agreement, output_error

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
