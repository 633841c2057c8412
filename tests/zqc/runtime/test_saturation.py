"""Seven bits cannot saturate in AVX2's multiply-add, eight can, and who is concerned is told."""

import numpy as np
import pytest

from zqc.runtime.executed import LayerReport
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


def layer(bits, *, integer=True):
    """A report on a layer of so many bits."""
    return LayerReport("conv", "Conv", bits, 8, integer, "" if integer else "kept")


@pytest.mark.parametrize(
    ("layers", "target", "features", "warned"),
    [
        ([layer(8), layer(4)], "ort-x86", AVX2, "1 of 2 layers; --reduce-range"),
        ([layer(7), layer(4)], "ort-x86", AVX2, ""),
        ([layer(32, integer=False)], "ort-x86", AVX2, ""),
        ([layer(8)], "ort-x86", AVX2 | {"avx512_vnni"}, ""),
        ([layer(8)], "ort-x86", AVX2 | {"avx_vnni"}, ""),
        ([layer(8)], "ort-x86", frozenset({"asimd"}), ""),
        ([layer(8)], "ort-x86", frozenset(), ""),
        ([layer(8)], "portable", AVX2, ""),
    ],
)
def test_who_is_warned(layers, target, features, warned):
    """Integer layers of eight bits, for x86, on a processor with AVX2 and no VNNI."""
    said = warning(layers, target, features)
    assert warned in said
    assert bool(said) == bool(warned)
