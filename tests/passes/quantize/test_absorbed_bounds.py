"""A bound at or above the top of the grid goes, and the integers stay the same."""

import numpy as np
import pytest

from passes import AbsorbedBounds, EqualizeChannels, QuantizeActivations
from passes.arithmetic import Grid

RELU6 = """(float[1,3,9,9] x) => (float[n,c,h,w] y) {
    a = Conv(x, w)
    h = Clip(a, zero, six)
    y = Conv(h, v)
}"""


def quantized(build, rng, grid, channel_range):
    """An equalised ReLU6 net, its activation quantized on one grid; and its float bounds."""
    weight = rng.normal(0, 3, (4, 3, 1, 1)).astype(np.float32)
    v = rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    model = build(RELU6, w=weight, v=v, zero=0.0, six=6.0)
    EqualizeChannels({"h": np.array([channel_range, channel_range / 2, channel_range / 4, 0.0])})(
        model
    )
    QuantizeActivations({"h": grid})(model)
    return model


@pytest.mark.parametrize("bits", [8, 5, 4])
@pytest.mark.parametrize("channel_range", [6.0, 4.5, 3.0])
def test_removed_without_a_trace(build, run, operators, rng, bits, channel_range):
    """On the grid next above the reach no value changes, though values far above 6 come in."""
    grid = Grid(3 if channel_range > 4 else 2, bits, signed=False)
    model = quantized(build, rng, grid, channel_range)
    x = rng.normal(0, 3, (1, 3, 9, 9)).astype(np.float32)
    before = run(model, x=x)
    assert "Min" in operators(model)
    assert AbsorbedBounds()(model).modified
    assert "Min" not in operators(model)
    assert "Relu" in operators(model)
    np.testing.assert_array_equal(run(model, x=x)["y"], before["y"])


@pytest.mark.parametrize("grid", [Grid(4, 8, signed=False), Grid(3, 8, signed=True)])
def test_declined(build, operators, rng, grid):
    """A grid that reaches beyond a bound, or that is signed, leaves it where it is."""
    model = quantized(build, rng, grid, 6.0)
    assert not AbsorbedBounds()(model).modified
    assert "Min" in operators(model)


def test_declined_where_somebody_else_reads(build, operators, rng):
    """A second reader of the bounded tensor needs the bound."""
    model = build(
        """(float[1,3,5,5] x) => (float[n,c,h,w] y, float[n,c,h,w] m) {
            m = Min(x, bounds)
            r = Relu(m)
            y = MaxPool<kernel_shape=[2,2]>(r)
        }""",
        bounds=np.full((3, 1, 1), 99, np.float32),
    )
    QuantizeActivations({"r": Grid(3, 8, signed=False)})(model)
    assert not AbsorbedBounds()(model).modified
    assert "Min" in operators(model)
