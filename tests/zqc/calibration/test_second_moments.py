"""Second moments of what a layer's weights are multiplied with."""

import numpy as np
import pytest
import torch

from tests.passes.helpers import build_model, run_model
from zqc.calibration import second_moments
from zqc.calibration.second_moments import (
    SAMPLES_AT_ONCE,
    Moments,
    RunningMoments,
    SecondMoments,
    input_moments,
    known_better,
)

LAYERS = {
    "3x3": ("Conv<pads=[1,1,1,1]>", (6, 4, 3, 3)),
    "1x1": ("Conv", (6, 4, 1, 1)),
    "stride 2": ("Conv<strides=[2,2], pads=[0,1,1,0]>", (6, 4, 3, 3)),
    "dilated": ("Conv<dilations=[2,1]>", (6, 4, 2, 3)),
    "grouped": ("Conv<group=2>", (6, 2, 3, 3)),
    "depthwise": ("Conv<pads=[1,1,1,1], group=4>", (8, 1, 3, 3)),
}


def everywhere(count):
    """Positions that sample each of ``count`` places once."""
    return (np.arange(count) + 0.5) / count


@pytest.mark.parametrize("layer", LAYERS)
def test_they_predict_the_power_of_the_output(rng, layer):
    """Wᵀ M W is the mean square of each output channel as ONNX Runtime computes it (1e-5)."""
    call, shape = LAYERS[layer]
    weight = rng.normal(size=shape).astype(np.float32)
    model = build_model(
        f"(float[2,4,7,6] x) => (float[n,c,h,w] y) {{ y = {call}(x, w) }}", w=weight
    )
    x = rng.normal(0.3, 1, (2, 4, 7, 6)).astype(np.float32)
    y = run_model(model, x=x)["y"]
    positions = everywhere(y.shape[0] * y.shape[2] * y.shape[3])
    found = input_moments(model.graph[0], x, positions)
    groups = 4 // shape[1]
    columns = int(np.prod(shape[1:]))
    assert found.shape == (groups, 1, columns, columns)
    rows = weight.reshape(groups, -1, columns).astype(np.float64)
    power = np.einsum("grk,gkl,grl->gr", rows, found[:, 0], rows).reshape(-1)
    expected = np.mean(y.astype(np.float64) ** 2, axis=(0, 2, 3))
    np.testing.assert_allclose(power, expected, rtol=1e-5)


@pytest.mark.parametrize("transposed", [0, 1])
def test_of_a_gemm(rng, transposed):
    """The columns of a Gemm are its input's features."""
    model = build_model(
        f"(float[5,4] x) => (float[n,c] y) {{ y = Gemm<transB={transposed}>(x, w) }}",
        w=np.ones((3, 4) if transposed else (4, 3), np.float32),
    )
    x = rng.normal(size=(5, 4)).astype(np.float32)
    found = input_moments(model.graph[0], x, everywhere(5))
    assert found.shape == (1, 1, 4, 4)
    np.testing.assert_allclose(found[0, 0], x.T.astype(np.float64) @ x / 5, rtol=1e-5)


def test_large_layers_are_cut_into_blocks_of_channels(rng, monkeypatch):
    """Above the limit, the blocks are the diagonal blocks of the whole matrix."""
    call, shape = LAYERS["3x3"]
    model = build_model(
        f"(float[1,4,5,5] x) => (float[n,c,h,w] y) {{ y = {call}(x, w) }}",
        w=rng.normal(size=shape).astype(np.float32),
    )
    x = rng.normal(size=(1, 4, 5, 5)).astype(np.float32)
    whole = input_moments(model.graph[0], x, everywhere(25))[0, 0]
    for limit, channels in ((18, 2), (27, 2), (9, 1), (1, 1)):
        monkeypatch.setattr(second_moments, "LARGEST_BLOCK", limit)
        blocks = input_moments(model.graph[0], x, everywhere(25))
        width = 9 * channels
        assert blocks.shape == (1, 4 // channels, width, width)
        for index, block in enumerate(blocks[0]):
            part = slice(index * width, (index + 1) * width)
            np.testing.assert_allclose(block, whole[part, part], rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "call"),
    [
        ("1,4,5,5", "ConvTranspose(x, w)"),
        ("1,4,5,5", 'Conv<auto_pad="SAME_UPPER">(x, w)'),
        ("1,4,5,4", "MatMul(x, m)"),
        ("4,5", "Gemm<transA=1>(x, m)"),
        ("1,4,5,5", "Conv(x, x)"),
    ],
)
def test_other_layers_have_none(size, call):
    """ConvTranspose, MatMul, automatic padding, a turned Gemm and computed weights have none."""
    constants = {"w": np.ones((4, 4, 3, 3), np.float32), "m": np.ones((4, 4), np.float32)}
    read = {name: array for name, array in constants.items() if f", {name})" in call}
    rank = ",".join("abcd"[: size.count(",") + 1])
    model = build_model(f"(float[{size}] x) => (float[{rank}] y) {{ y = {call} }}", **read)
    x = np.ones([int(n) for n in size.split(",")], np.float32)
    assert input_moments(model.graph[0], x, everywhere(4)) is None


UNFOLDED = {
    "1x1": ((5, 4, 1, 1), {}),
    "stride, uneven pads": ((5, 4, 3, 2), {"strides": (2, 1), "pads": (0, 1, 2, 1)}),
    "dilated": ((5, 4, 3, 3), {"dilations": (2, 1), "pads": (1, 0, 1, 2), "strides": (1, 2)}),
    "grouped": ((6, 2, 3, 3), {"group": 2, "pads": (1, 1, 1, 1)}),
    "depthwise": ((4, 1, 3, 3), {"group": 4, "strides": (2, 2), "pads": (1, 1, 0, 0)}),
}


@pytest.mark.parametrize("layer", UNFOLDED)
def test_they_are_those_of_pytorchs_unfold(rng, layer):
    """At all positions, every entry is the mean product of two rows of im2col (1e-5)."""
    shape, options = UNFOLDED[layer]
    written = ", ".join(
        f"{name}={list(value) if isinstance(value, tuple) else value}"
        for name, value in options.items()
    )
    call = f"Conv<{written}>" if written else "Conv"
    model = build_model(
        f"(float[3,4,8,7] x) => (float[n,c,h,w] y) {{ y = {call}(x, w) }}",
        w=np.ones(shape, np.float32),
    )
    x = rng.normal(0.3, 1, (3, 4, 8, 7)).astype(np.float32)
    top, left, bottom, right = options.get("pads", (0, 0, 0, 0))
    columns = torch.nn.functional.unfold(
        torch.nn.functional.pad(torch.tensor(x, dtype=torch.float64), (left, right, top, bottom)),
        shape[2:],
        dilation=options.get("dilations", (1, 1)),
        stride=options.get("strides", (1, 1)),
    )
    groups, size = options.get("group", 1), int(np.prod(shape[1:]))
    rows = columns.permute(1, 0, 2).reshape(groups, size, -1).numpy()
    expected = rows @ rows.swapaxes(1, 2) / rows.shape[2]
    found = input_moments(model.graph[0], x, everywhere(rows.shape[2]))
    assert found.shape == (groups, 1, size, size)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_running_moments_are_those_of_all_samples(rng):
    """However the samples come, many or few at a time, means are those of all (1e-5)."""
    columns = rng.normal(size=(2, 1, 5, 3 * SAMPLES_AT_ONCE)).astype(np.float32)
    running = RunningMoments()
    for part in np.split(columns, [7, 9, SAMPLES_AT_ONCE + 30, 2 * SAMPLES_AT_ONCE + 1], axis=-1):
        running.add(part)
    exact = columns.astype(np.float64)
    expected = np.einsum("gbks,gbls->gbkl", exact, exact) / columns.shape[-1]
    found = running.moments()
    np.testing.assert_allclose(found.second, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean, exact.mean(axis=-1), rtol=1e-5, atol=1e-6)
    assert found.samples == columns.shape[-1]


def test_several_folds_are_one_set(rng):
    """Folds of different size together have the moments of all their samples (1e-12)."""
    x = rng.normal(0.3, 1, (70, 4))
    folds = [{"a": moments_of(each)} for each in np.split(x, [30])]
    together = SecondMoments(folds)
    np.testing.assert_allclose(together["a"], moments_of(x).second, rtol=1e-12)
    whole = Moments.together([fold["a"] for fold in folds])
    np.testing.assert_allclose(whole.mean, moments_of(x).mean, rtol=1e-12)
    assert whole.samples == 70
    assert list(together) == ["a"]
    assert SecondMoments(folds[:1])["a"] is folds[0]["a"].second
    assert "a" in together
    assert "a" not in SecondMoments([])


def test_noise_comes_on_top(rng):
    """The moments of rows to which independent noise is added (2 %); other layers have none."""
    x, deviations = rng.normal(0.3, 1, (200_000, 3)), np.array([0.2, 0.5, 1.0])
    noisy = moments_of(x + rng.normal(size=x.shape) * deviations).second
    fold = {"a": moments_of(x), "b": moments_of(x)}
    found = SecondMoments([fold], {"a": np.square(deviations).reshape(1, 1, 3)})
    np.testing.assert_allclose(found["a"], noisy, rtol=0.02, atol=0.01)
    assert found["b"] is fold["b"].second


def moments_of(x):
    """Those of rows, as one group and one block."""
    return Moments((x.T @ x / len(x))[np.newaxis, np.newaxis], x.mean(axis=0)[None, None], len(x))


def correlations(moments):
    """What is left of moments when every column has the second moment 1."""
    roots = np.sqrt(np.diagonal(moments.second, axis1=-2, axis2=-1))
    return moments.second / roots[..., np.newaxis] / roots[..., np.newaxis, :]


def test_channels_get_the_second_moments_that_are_known(rng):
    """Behind a 1×1 kernel: those moments on the diagonal, the same correlations (1e-12)."""
    x = rng.normal(0.3, 1, (50, 4)) * [0.5, 1, 1, 2]
    known = np.array([1.0, 1.0, 2.0, 1.5])
    found = known_better(moments_of(x), known)
    np.testing.assert_allclose(np.diagonal(found.second[0, 0]), known, rtol=1e-12)
    np.testing.assert_allclose(correlations(found), correlations(moments_of(x)), rtol=1e-12)
    scaled = x * np.sqrt(known / np.square(x).mean(axis=0))
    np.testing.assert_allclose(found.mean[0, 0], scaled.mean(axis=0), rtol=1e-12)


def test_a_channel_that_pictures_do_not_show_is_not_blown_up(rng):
    """A channel that is 0 in the pictures stays so, and one at a thousandth grows fourfold."""
    x = rng.normal(0, 1, (50, 3)) * [1, 0, 1e-3]
    before = moments_of(x)
    found = known_better(before, np.ones(3))
    assert not found.second[0, 0, 1].any()
    assert found.second[0, 0, 2, 2] == pytest.approx(16 * before.second[0, 0, 2, 2])


def test_neighbours_are_less_alike_than_pictures_show(rng):
    """Behind a 3×3 kernel of two channels: the known power per channel, correlations smaller."""
    x = rng.normal(0.3, 1, (200, 18))
    found = known_better(moments_of(x), np.array([1.0, 2.0]))
    power = np.diagonal(found.second[0, 0]).reshape(2, 9).mean(axis=1)
    np.testing.assert_allclose(power, [1.0, 2.0], rtol=1e-12)
    off = ~np.eye(18, dtype=bool)
    before, after = (correlations(each)[0, 0][off] for each in (moments_of(x), found))
    np.testing.assert_allclose(after / before, 0.95, rtol=1e-12)


def test_channels_of_a_depthwise_layer_keep_their_own_moments(rng):
    """Each channel only changes by a factor, which no rounding depends on."""
    x = rng.normal(0.3, 1, (2, 60, 9))
    of = [moments_of(each) for each in x]
    second, mean = (np.stack([getattr(m, name)[0] for m in of]) for name in ("second", "mean"))
    found = known_better(Moments(second, mean, 60), np.array([1.0, 2.0]))
    ratio = found.second / second
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :, :1, :1], ratio.shape), rtol=1e-12)
