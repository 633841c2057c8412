"""Roundings, as their integers have them."""

import numpy as np

from tests.diagnosed import canonical, quantized, tensors
from tests.passes.helpers import build_model, run_model
from zqc.diagnosis.read_quantized import read

FEEDS = {"images": tensors()}


def test_a_rounding_does_what_the_pair_does(rng):
    """To the last bit, on its grid and beyond."""
    model = canonical(bits=8)
    rounding = next(x for x in read(model, FEEDS).layers if x.node.name == "stem").outputs[0]
    values = rng.uniform(-1, 2 * rounding.bounds[1], 1000).astype(np.float32)
    pair = build_model(
        """(float[1000] x) => (float[1000] y) {
            q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
        }""",
        s=np.float32(rounding.step[0]),
        z=np.uint8(rounding.zero[0]),
    )
    np.testing.assert_array_equal(rounding.nearest(values), run_model(pair, x=values)["y"])


def test_the_threshold_of_a_rounding():
    """255 steps of 1/256 are a threshold of 1: 2^0."""
    stem = next(x for x in read(canonical(bits=8), FEEDS).layers if x.node.name == "stem")
    grid = quantized(bits=8)[2].candidate.ranges.grids["r1"]
    assert stem.outputs[0].exponent == grid.exponent
    assert stem.outputs[0].bits == 8
