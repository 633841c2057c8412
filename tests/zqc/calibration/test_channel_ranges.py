"""How far channels reach, against a plain search over the same values."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.calibration.channel_ranges import SAMPLES, channel_thresholds

SIZES = np.array([1, 0.2, 7, 0.03, 0, 2.2])
"""Sizes of the channels; one is dead."""


def net(function):
    """Channels of different size before and behind a function."""
    return build_model(
        f"(float[n,6,8,8] x) => (float[n,6,8,8] y) {{ h = {function}(x) y = Identity(h) }}"
    )


@pytest.fixture
def pictures(rng):
    """Batches of uneven size whose values all fit into the sample."""
    x = (rng.standard_t(4, (20, 6, 8, 8)) * SIZES.reshape(-1, 1, 1)).astype(np.float32)
    assert SAMPLES // 20 >= 64
    return [x[:7], x[7:20]]


def plain_search(values, low, high):
    """The least error over 400 steps of each channel, and its step."""
    errors, best = [], []
    for channel in values:
        steps = np.abs(channel).max() / high * np.exp2(-np.linspace(0, 4, 400))
        found = [
            np.sum((d * np.clip(np.rint(channel / d), low, high) - channel) ** 2) for d in steps
        ]
        errors.append(min(found))
        best.append(steps[int(np.argmin(found))])
    return np.array(errors), np.array(best)


KINDS = {
    "signed": ("Identity", {}, 3, [(-8, 7)]),
    "nonnegative": ("Relu", {"nonnegative": ["h"]}, 4, [(0, 15)]),
    "slightly negative": (
        "Elu",
        {"slightly_negative": ["h"]},
        4,
        [(-z, 15 - z) for z in range(5)],
    ),
}


@pytest.mark.parametrize(("function", "flags", "exponent", "ranges"), KINDS.values(), ids=KINDS)
def test_thresholds_have_the_least_error(pictures, function, flags, exponent, ranges):
    """The error is within some per cent of what a much finer search finds; dead channels get 0."""
    model = net(function)
    found = channel_thresholds(model, ["h"], pictures, bits=4, pictures=20, **flags)["h"]
    x = np.concatenate(pictures)
    h = {"Identity": x, "Relu": np.maximum(x, 0), "Elu": np.where(x > 0, x, np.expm1(x))}[function]
    values = h.transpose(1, 0, 2, 3).reshape(6, -1).astype(np.float64)
    alive = SIZES > 0
    searched = [plain_search(values[alive], low, high)[0] for low, high in ranges]
    steps = found.channel_ranges[alive, None] / 2**exponent
    reached = [
        np.sum((steps * np.clip(np.rint(values[alive] / steps), *r) - values[alive]) ** 2, axis=1)
        for r in ranges
    ]
    best = int(np.argmin([errors.sum() for errors in searched]))
    assert np.all(reached[best] < 1.1 * searched[best])
    np.testing.assert_array_equal(found.channel_ranges == 0, SIZES == 0)
    assert found.common >= found.channel_ranges.max() > found.common / 2
    assert np.log2(found.common).is_integer()


def test_thresholds_of_a_sample(rng):
    """Of large tensors some positions are looked at: the thresholds are nearly the same."""
    x = (rng.normal(size=(4, 6, 64, 64)) * SIZES.reshape(-1, 1, 1)).astype(np.float32)
    options = {"bits": 4, "pictures": 4}
    model = build_model("(float[4,6,64,64] x) => (float[4,6,64,64] y) { y = Identity(x) }")
    few = channel_thresholds(model, ["x"], [x], **options)["x"]
    again = channel_thresholds(model, ["x"], [x], **options)["x"]
    np.testing.assert_array_equal(few.channel_ranges, again.channel_ranges)
    alive = SIZES > 0
    # Of normal values, 4 signed bits clip at 2.6 deviations: Δ = 0.335σ (Max, 1960).
    np.testing.assert_allclose(few.channel_ranges[alive] / SIZES[alive], 8 * 0.335, rtol=0.15)


def test_what_has_no_axis_of_channels_is_one(rng):
    """A number and a list of numbers that are computed from the picture."""
    model = build_model(
        """(float[2,3,4,4] x) => (float one, float[2] each) {
        one = ReduceMax<keepdims=0>(x)
        each = ReduceMax<keepdims=0>(x, axes)
    }""",
        axes=np.array([1, 2, 3]),
    )
    x = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    found = channel_thresholds(model, ["one", "each"], [x], bits=8, pictures=2)
    assert all(seen.channel_ranges.shape == (1,) for seen in found.values())
