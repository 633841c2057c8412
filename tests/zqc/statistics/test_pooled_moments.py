"""Moments in one pass are those of everything at once."""

import numpy as np
import pytest

from zqc.statistics.pooled_moments import PooledMoments


@pytest.mark.parametrize("shape", [(3,), (3, 7), (3, 5, 4)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_batches_pool_to_the_whole(rng, shape, offset):
    """Batches of any sizes give numpy's mean, deviation and range, far from 0 too."""
    values = (offset + rng.normal(size=(11, *shape)) * rng.uniform(0.1, 3)).astype(np.float32)
    pooled = PooledMoments.of(values[:1])
    for start, stop in ((1, 5), (5, 6), (6, 11)):
        pooled = pooled.joined(PooledMoments.of(values[start:stop]))
    exact = values.astype(np.float64)
    axes = (0, *range(2, exact.ndim))
    assert pooled.count == exact.size // 3
    np.testing.assert_allclose(pooled.mean, exact.mean(axes), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pooled.deviation, exact.std(axes), rtol=1e-10)
    assert (pooled.low, pooled.high) == (exact.min(), exact.max())
