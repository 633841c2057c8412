"""A net whose statistics say nothing of pictures."""

import numpy as np

from tests.passes.helpers import build_model


def untrained(rng, **changes):
    """A layer whose statistics were never those of pictures."""
    arrays = {
        "w": rng.normal(size=(8, 3, 3, 3)),
        "g": np.ones(8),
        "b": np.zeros(8),
        "m": rng.normal(0, 3, 8),
        "v": rng.uniform(0.5, 2, 8),
    }
    graph = """(float[N,3,16,16] x) => (float[N,8,14,14] y) {
        c = Conv(x, w)
        y = BatchNormalization(c, g, b, m, v)
    }"""
    arrays = {name: np.asarray(a, np.float32) for name, a in (arrays | changes).items()}
    return build_model(graph, **arrays)
