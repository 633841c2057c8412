"""Tensors of a model are read by name, the input among them."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.calibration.tensor_reader import TensorReader

TEXT = "(float[n,2] x) => (float[n,2] y) { h = Neg(x) y = Abs(h) }"


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("names", [["h"], ["x", "h"], ["x"], ["h", "h"]])
def test_tensors_and_the_input(rng, names, optimize):
    """Every named tensor comes back as the network computes it; only what is needed is run."""
    x = rng.normal(size=(3, 2)).astype(np.float32)
    found = TensorReader(build_model(TEXT), names, threads=1, optimize=optimize)(x)
    assert set(found) == {"x", *names}
    for name, values in found.items():
        np.testing.assert_array_equal(values, x if name == "x" else -x)
