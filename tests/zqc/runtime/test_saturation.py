"""Seven bits cannot saturate in AVX2's multiply-add, eight can, and who is concerned is told."""

import numpy as np
import pytest

from zqc.runtime.saturation import can_saturate, warning

AVX2 = frozenset({"avx2", "sse4_1"})


def pairwise(activations, weights):
    """The sum of two products as VPMADDUBSW adds them, and as it is."""
    exact = (activations.astype(np.int64) * weights.astype(np.int64)).sum(axis=-1)
    return np.clip(exact, -(2**15), 2**15 - 1), exact


@pytest.mark.parametrize("bits", range(2, 9))
def test_all_extremes(bits):
    """At the corners, where a sum of products is largest, only eight bits leave 16 bits."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    corners = np.array(np.meshgrid([0, 255], [0, 255], [low, high], [low, high])).reshape(4, -1)
    saturated, exact = pairwise(corners[:2].T.astype(np.uint8), corners[2:].T.astype(np.int8))
    assert bool((saturated != exact).any()) == can_saturate(bits) == (bits == 8)
    if bits == 7:
        assert (exact.min(), exact.max()) == (-32640, 2 * 255 * 63)


@pytest.mark.parametrize(
    ("weight_bits", "features", "warned"),
    [
        ([8, 4], AVX2, "1 of 2 layers; --reduce-range"),
        ([7, 4], AVX2, ""),
        ([32], AVX2, ""),
        ([8], AVX2 | {"avx512_vnni"}, ""),
        ([8], AVX2 | {"avx_vnni"}, ""),
        ([8], frozenset({"asimd"}), ""),
        ([8], frozenset(), ""),
    ],
)
def test_who_is_warned(weight_bits, features, warned):
    """Integer layers of eight bits, on a processor with AVX2 and no VNNI."""
    said = warning(weight_bits, features)
    assert warned in said
    assert bool(said) == bool(warned)
