"""Functions that several conventions share."""

import numpy as np

from zqc.detection.conventions.functions import sigmoid, softmax


def test_sigmoid_is_the_logistic_function_and_does_not_overflow():
    """Equal to 1 / (1 + e^-x) in double precision, and 0 and 1 far out without a warning."""
    values = np.linspace(-20, 20, 101)
    with np.errstate(all="raise"):
        found = sigmoid(values.astype(np.float32))
        far = sigmoid(np.array([-1e30, 1e30], np.float32))
    assert np.allclose(found, 1 / (1 + np.exp(-values)), rtol=1e-5, atol=1e-7)
    assert far.tolist() == [0, 1]


def test_softmax_shares_one_and_does_not_overflow():
    """Equal to its definition in double precision over the last axis, and safe far out."""
    values = np.random.default_rng(0).normal(0, 5, (4, 6))
    powers = np.exp(values)
    with np.errstate(all="raise", under="ignore"):
        found = softmax(values.astype(np.float32))
        far = softmax(np.array([1e30, -1e30], np.float32))
    assert np.allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    assert far.tolist() == [1, 0]
