"""Functions that several conventions share."""

import numpy as np

from zqc.detection.conventions.functions import sigmoid


def test_sigmoid_is_the_logistic_function_and_does_not_overflow():
    """Equal to 1 / (1 + e^-x) in double precision, and 0 and 1 far out without a warning."""
    values = np.linspace(-20, 20, 101)
    with np.errstate(all="raise"):
        found = sigmoid(values.astype(np.float32))
        far = sigmoid(np.array([-1e30, 1e30], np.float32))
    assert np.allclose(found, 1 / (1 + np.exp(-values)), rtol=1e-5, atol=1e-7)
    assert far.tolist() == [0, 1]
