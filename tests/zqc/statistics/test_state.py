"""In which state BatchNormalization is in a model."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.statistics.state import statistics_state

TEXT = """(float[N,1,4,4] x) => (float[N,1,4,4] y) {
    y = BatchNormalization(x, scale, bias, mean, variance)
}"""


@pytest.mark.parametrize(
    ("mean", "variance", "state"), [(0, 1, "untrained"), (0.1, 1, "kept"), (0, 0.9, "kept")]
)
def test_statistics_that_training_begins_with_are_none(mean, variance, state):
    """Means of 0 and variances of 1 were never measured."""
    values = {"scale": 1, "bias": 0, "mean": mean, "variance": variance}
    constants = {name: np.array([value], np.float32) for name, value in values.items()}
    assert statistics_state(build_model(TEXT, **constants)) == state


def test_no_batchnorm_is_folded():
    """Nothing is left to read."""
    text = """(float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Relu(x) }"""
    assert statistics_state(build_model(text)) == "folded"
