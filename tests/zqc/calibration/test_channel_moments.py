"""Moments through layers, sums, products and moves, against sampled tensors."""

import numpy as np
import pytest

from passes.graph import with_outputs
from tests.passes.helpers import build_model, run_model
from zqc.calibration.channel_moments import ChannelMoments, propagated


def measured(array):
    """Moments of an array per channel."""
    axes = (0, *range(2, array.ndim))
    return ChannelMoments(
        array.mean(axes, dtype=np.float64),
        array.var(axes, dtype=np.float64),
        np.abs(array).max(axes).astype(np.float64),
    )


def noise(rng, channels):
    """Independent values, a mean and a deviation for each channel."""
    shape = (1, channels, 1, 1)
    values = rng.normal(size=(64, channels, 24, 24)) * rng.uniform(0.5, 2, shape)
    return (values + rng.normal(0, 2, shape)).astype(np.float32)


def compare(body, rng, *, nodes=-1, rank=4, **arrays):
    """Sample x and z, run the graph, propagate through one of its nodes, return both moments."""
    output = ",".join(f"d{i}" for i in range(rank))
    text = f"(float[64,4,24,24] x, float[64,4,24,24] z) => (float[{output}] y) {{ {body} }}"
    model = build_model(text, **arrays)
    feeds = {"x": noise(rng, 4), "z": noise(rng, 4)}
    node = list(model.graph)[nodes]
    computed = [v.name for n in model.graph for v in n.outputs]
    values = feeds | run_model(with_outputs(model, computed), **feeds)
    inputs = [measured(values[v.name]) if v and v.name in values else None for v in node.inputs]
    found = propagated(node, inputs, deviations=3)
    assert found is not None
    return found, [measured(values[v.name]) for v in node.outputs]


EXACT = {
    "Conv": ("y = Conv(x, w, b)", (6, 4, 3, 3)),
    "grouped Conv": ("y = Conv<group=2, strides=[2,2]>(x, w, b)", (6, 2, 3, 3)),
    "depthwise Conv": ("y = Conv<group=4>(x, w)", (4, 1, 3, 3)),
    "ConvTranspose": ("y = ConvTranspose<strides=[2,2]>(x, w, b)", (4, 6, 2, 2)),
    "grouped ConvTranspose": ("y = ConvTranspose<group=2, strides=[2,2]>(x, w)", (4, 3, 2, 2)),
    "Add": ("y = Add(x, z)", None),
    "Sub": ("y = Sub(x, z)", None),
    "Mul": ("y = Mul(x, z)", None),
    "Sum": ("y = Sum(x, z, z)", None),
    "Concat": ("y = Concat<axis=1>(z, x)", None),
    "Identity": ("y = Identity(x)", None),
    "Resize": ('y = Resize<mode="nearest">(x, , sizes)', None),
}


@pytest.mark.parametrize("case", EXACT.values(), ids=EXACT.keys())
def test_means_and_variances_of_independent_inputs(rng, case):
    """Where inputs are independent, as here, means and variances are those of the samples."""
    body, shape = case
    arrays = {}
    if shape is not None:
        arrays["w"] = rng.normal(size=shape).astype(np.float32)
    if ", b)" in body:
        arrays["b"] = rng.normal(size=6).astype(np.float32)
    if "sizes" in body:
        arrays["sizes"] = np.array([1, 1, 2, 2], np.float32)
    (found,), (expected,) = compare(body, rng, **arrays)
    scale = np.sqrt(expected.second_moment)
    np.testing.assert_allclose(found.mean / scale, expected.mean / scale, atol=0.02)
    if "strides=[2,2]>" not in body or "Transpose" not in body:
        slack = 1.0 if "Sum" in body else 0.05  # z + z is not independent
        np.testing.assert_allclose(found.variance, expected.variance, rtol=slack)


def test_a_product_of_constants_has_no_negative_variance(rng):
    """A channel that never changes has the variance 0, not what rounding leaves of a difference."""
    model = build_model(
        "(float[1,64,1,1] x, float[1,64,1,1] z) => (float[1,64,1,1] y) {y = Mul(x, z)}"
    )
    still = [ChannelMoments(mean, np.zeros(64), np.abs(mean)) for mean in rng.normal(0, 9, (2, 64))]
    (found,) = propagated(model.graph[0], still, deviations=3)
    np.testing.assert_array_equal(found.variance, 0)


def test_split_and_slice_pick_channels(rng):
    """Each part has the moments of its channels, exactly."""
    found, expected = compare(
        "a, b = Split<axis=1>(x, sizes) y = Relu(a)", rng, nodes=0, sizes=np.array([1, 3])
    )
    for part, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(part.mean, reference.mean)
        np.testing.assert_allclose(part.variance, reference.variance)


def test_gemm_behind_a_global_pool(rng):
    """The mean is exact; the variance of averages is bounded from above."""
    (found,), (expected,) = compare(
        "p = GlobalAveragePool(x) f = Flatten(p) y = Gemm<transB=1>(f, m, b)",
        rng,
        rank=2,
        m=rng.normal(size=(3, 4)).astype(np.float32),
        b=rng.normal(size=3).astype(np.float32),
    )
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-3, atol=1e-3)
    (pooled,), (reference,) = compare("y = GlobalAveragePool(x)", rng)
    np.testing.assert_allclose(pooled.mean, reference.mean, atol=1e-4)
    assert np.all(pooled.variance >= reference.variance)


def test_reach_of_a_sum_is_bounded_both_ways(rng):
    """Neither more than both reaches together nor more than the deviations allow."""
    model = build_model(
        "(float[1,2,3,3] x, float[1,2,3,3] z) => (float[n,c,h,w] y) {y = Add(x, z)}"
    )
    one = ChannelMoments(np.zeros(2), np.array([1.0, 9.0]), np.array([3.0, 1.0]))
    (found,) = propagated(model.graph[0], [one, one], deviations=3)
    np.testing.assert_allclose(found.channel_range, [3 * np.sqrt(2), 2])


@pytest.mark.parametrize(
    "body",
    [
        "y = MaxPool<kernel_shape=[2,2]>(x)",
        "y = Softmax<axis=1>(x)",
        "y = Gemm<alpha=2.0>(flat, m)",
        "y = Mul(x, half)",
    ],
)
def test_declined(rng, body):
    """Operators that are no business of these formulas give None, not a guess."""
    declared = "float[2,2] flat" if "Gemm" in body else "float[1,2,4,4] x"
    rank = "n,c" if "Gemm" in body else "n,c,h,w"
    arrays = {"m": np.ones((2, 2), np.float32)} if "Gemm" in body else {}
    arrays |= {"half": 0.5} if "half" in body else {}
    model = build_model(f"({declared}) => (float[{rank}] y) {{ {body} }}", **arrays)
    one = ChannelMoments(np.zeros(2), np.ones(2), np.ones(2))
    assert propagated(model.graph[0], [one, None], deviations=3) is None
