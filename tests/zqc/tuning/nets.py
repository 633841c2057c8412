"""A small quantized network with what training has to deal with."""

import numpy as np

from passes import QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid
from tests.passes.helpers import build_model

NETWORK = """(float[n,4,8,8] x) => (float[n,6,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1], group=2>(b, w1, b1)
    d = Relu(c)
    e = Add(d, half)
    y = Conv(e, w2, b2)
}"""
GRIDS = {
    "x": Grid(2, 8, True),
    "b": Grid(1, 4, False),
    "d": Grid(1, 4, False, 2),
    "e": Grid(1, 6, False),
}
BITS = {"make_a": 8, "make_c": 3, "make_y": 4}


def networks(seed=0, batch=2):
    """A float model with layers of 8, 3 and 4 bits, the same quantized, and pictures."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    model = build_model(
        NETWORK.replace("n,", f"{batch},"),
        w0=normal(8, 4, 3, 3),
        b0=normal(8) / 4,
        w1=normal(8, 4, 3, 3),
        b1=normal(8) / 4,
        w2=normal(6, 8, 1, 1),
        b2=normal(6) / 4,
        half=0.5,
    )
    quantized = model.clone()
    QuantizeActivations(GRIDS)(quantized)
    QuantizeWeights(bits=4, first_last_bits=8, bits_of=BITS)(quantized)
    return model, quantized, rng.normal(size=(40, 4, 8, 8)).astype(np.float32)
