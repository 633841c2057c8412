"""Weights are compared channel by channel, up to a factor."""

import numpy as np
import pytest
import torch

from zqc.statistics.kernels import TOLERANCE, factors, rows_of, signature


def test_rows_of_a_transposed_convolution(rng):
    """A row is what makes one output channel: PyTorch's output for it depends on it alone."""
    for groups in (1, 2):
        layer = torch.nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
        rows = rows_of(layer.weight.detach().numpy(), "ConvTranspose", groups)
        x = torch.ones(1, 4, 1, 1)
        expected = layer(x).detach().numpy()[0].sum((1, 2))
        np.testing.assert_allclose(rows.sum(axis=1), expected, rtol=1e-5, atol=1e-6)
    assert rows_of(rng.normal(size=(5, 3, 2, 2)), "Conv").shape == (5, 12)


def test_factors(rng):
    """They are those that the rows were scaled with, in float16 too; a dead row has 0."""
    rows = rng.normal(size=(5, 27))
    rows[3] = 0
    scales = np.array([0.5, -2.0, 3.0, 7.0, 1.0])
    for others in (rows, rows.astype(np.float16).astype(np.float64)):
        found = factors(rows * scales[:, None], others)
        np.testing.assert_allclose(found.values, scales * [1, 1, 1, 0, 1], rtol=1e-3)
        assert found.error(scales) < 5e-4
        assert found.error(scales * 1.1) > TOLERANCE
    np.testing.assert_allclose(
        signature(rows * scales[:, None]), signature(rows), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("share", "parallel"), [(1e-3, True), (0.02, False)])
def test_training_changes_directions(rng, share, parallel):
    """Noise of 16-bit rounding passes; two percent do not."""
    rows = rng.normal(size=(8, 30))
    moved = rows + share * rng.normal(size=rows.shape)
    assert (factors(rows, moved) is not None) == parallel


def test_nothing_is_parallel_to_nothing():
    """Weights of 0 tell nothing."""
    assert factors(np.zeros((2, 3)), np.ones((2, 3))) is None
