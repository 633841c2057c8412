"""Products that let factors begin behind SiLU and its like, and what becomes of them later."""

import numpy as np
import pytest

from passes import (
    DerivedBiasScales,
    EqualizeChannels,
    QuantizeActivations,
    QuantizeWeights,
    UnsignedActivations,
)
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid, exponent_of
from passes.equalize.inserted_scales import representable
from passes.graph import with_outputs
from passes.qdq import best_grid
from tests.passes.helpers import build_model, operator_types, relative_error, run_model
from zqc.runtime import session

SPREAD = 2.0 ** np.array([0, -1.3, -2.6, -4.1, 0.4, -3.2])
"""How far the six channels of the first layer reach, relative to each other."""

SILU = "s = Sigmoid(a) h = Mul(a, s)"

BEGINNINGS = {
    "SiLU": (SILU, "y = Conv(h, v)", ["Conv", "Sigmoid", "Mul", "Mul", "Conv"]),
    "HardSwish": ("h = HardSwish(a)", "y = Conv(h, v)", ["Conv", "HardSwish", "Mul", "Conv"]),
    "Gelu": ("h = Gelu(a)", "y = Conv(h, v)", ["Conv", "Gelu", "Mul", "Conv"]),
    "Elu": ("h = Elu(a)", "y = Conv(h, v)", ["Conv", "Elu", "Mul", "Conv"]),
    "Mish": ("h = Mish(a)", "y = Conv(h, v)", ["Conv", "Mish", "Mul", "Conv"]),
    "SiLU of a sum": (
        "o = Conv(x, w2) t = Add(a, o) s = Sigmoid(t) h = Mul(s, t)",
        "y = Conv(h, v)",
        ["Conv", "Conv", "Add", "Sigmoid", "Mul", "Mul", "Conv"],
    ),
    "two readers": (
        SILU,
        "p = MaxPool<kernel_shape=[3,3]>(h) y = Conv(p, v) z = Conv(h, v)",
        ["Conv", "Sigmoid", "Mul", "Mul", "MaxPool", "Conv", "Conv"],
    ),
    "Split, Concat and Resize": (
        SILU,
        "l, r = Split<axis=1>(h, parts) c = Concat<axis=1>(r, l) "
        'u = Resize<mode="nearest">(c, , sizes) y = Conv(u, v)',
        ["Conv", "Sigmoid", "Mul", "Mul", "Split", "Concat", "Resize", "Conv"],
    ),
    "Add of SiLU and hard-swish": (
        SILU,
        "o = Conv(x, w2) q = HardSwish(o) t = Add(h, q) y = Conv(t, v)",
        ["Conv", "Sigmoid", "Mul", "Mul", "Conv", "HardSwish", "Mul", "Add", "Conv"],
    ),
    "a squeezed gate": (
        "h = HardSwish(a)",
        "p = GlobalAveragePool(h) k = Conv(p, square) g = HardSigmoid(k) t = Mul(h, g) "
        "y = Conv(t, v)",
        ["Conv", "HardSwish", "Mul", "GlobalAveragePool", "Conv", "HardSigmoid", "Mul", "Conv"],
    ),
}


def build(rng, beginning, end):
    """A layer with channels of different reach, what is tested, and the layers behind."""
    arrays = {
        "w": (rng.normal(size=(6, 3, 3, 3)) * SPREAD.reshape(-1, 1, 1, 1)).astype(np.float32),
        "b": (rng.normal(size=6) * SPREAD).astype(np.float32),
        "w2": (rng.normal(size=(6, 3, 3, 3)) * SPREAD.reshape(-1, 1, 1, 1)).astype(np.float32),
        "v": rng.normal(size=(5, 6, 1, 1)).astype(np.float32),
        "square": rng.normal(size=(6, 6, 1, 1)).astype(np.float32),
        "parts": np.array([2, 4]),
        "sizes": np.array([1, 1, 2, 2], np.float32),
        "slopes": np.ones((6, 1, 1), np.float32),
    }
    text = f"a = Conv(x, w, b) {beginning} {end}"
    tokens = set(text.replace("(", " ").replace(")", " ").replace(",", " ").split())
    outputs = "float[n,c,h,w0] y" + (", float[n2,c2,h2,w3] z" if "z" in tokens else "")
    used = {name: array for name, array in arrays.items() if name in tokens}
    return build_model(f"(float[2,3,9,9] x) => ({outputs}) {{ {text} }}", **used)


def values_of(model, names, x):
    """The named tensors for an input."""
    return run_model(with_outputs(model, names), x=x)


def largest(array):
    """The largest |value| of every channel."""
    return np.abs(array).max((0, 2, 3)).astype(np.float64)


@pytest.fixture
def x(rng):
    """An input that all graphs here take."""
    return rng.normal(0, 2, (2, 3, 9, 9)).astype(np.float32)


@pytest.mark.parametrize("powers_of_two", [False, True])
@pytest.mark.parametrize("case", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_factor_begins_behind_the_function(rng, x, case, powers_of_two):
    """The function stays the same, to the bit with powers of two, and one product is inserted."""
    model = build(rng, *case[:2])
    channel_range = largest(values_of(model, ["h"], x)["h"])
    before = run_model(model, x=x)
    channel_ranges = {"h": channel_range}
    if "q" in {v.name for node in model.graph for v in node.outputs}:
        channel_ranges["q"] = largest(values_of(model, ["q"], x)["q"])
    result = EqualizeChannels(channel_ranges, powers_of_two=powers_of_two, insert=True)(model)
    after = run_model(model, x=x)
    assert result.modified
    assert "make_a" not in result.refused
    assert operator_types(model) == case[2]
    assert relative_error(before, after) < 1e-5
    if powers_of_two:
        assert all(np.array_equal(before[name], array) for name, array in after.items())


@pytest.mark.parametrize("beginning", [SILU, "h = HardSwish(a)"])
def test_every_channel_reaches_its_threshold(rng, x, beginning):
    """Nearly, from below: a factor is rounded down, by less than an eighth."""
    model = build(rng, beginning, "y = Conv(h, v)")
    channel_range = largest(values_of(model, ["h"], x)["h"])
    result = EqualizeChannels({"h": channel_range}, insert=True)(model)
    factor = result.factors["h_scaled"]
    np.testing.assert_allclose(
        largest(values_of(model, ["h_scaled"], x)["h_scaled"]), factor * channel_range, rtol=1e-5
    )
    part = factor * channel_range / channel_range.max()
    assert part.max() == 1
    assert part[channel_range > channel_range.max() / 32].min() > 0.88


@pytest.mark.parametrize("limit", [1.5, 4.0, 8.0, 20.0, 1024.0])
def test_constants_are_exact_on_8_bits(rng, limit):
    """Whatever the factors are, quantization finds a grid that holds them, some tensor's or all."""
    for _ in range(40):
        wanted = np.clip(np.exp2(rng.uniform(0, rng.uniform(0.1, 9), 12)), 1, limit)
        factors = representable(wanted, limit)
        assert np.all(factors <= wanted)
        assert np.all(factors >= 1)
        assert np.all(factors[wanted < min(limit, 32)] > 0.88 * wanted[wanted < min(limit, 32)])
        for array in (factors.astype(np.float32), factors[:2].astype(np.float32)):
            np.testing.assert_array_equal(best_grid(array).nearest(array), array)
        np.testing.assert_array_equal(factors.astype(np.float32), factors)


def test_nothing_is_left_where_nothing_is_gained(rng):
    """Channels of equal reach, an unknown reach and an output of the graph: no operator more."""
    for end, channel_ranges in (
        ("y = Conv(h, v)", {"h": np.full(6, 3.0)}),
        ("y = Conv(h, v)", {}),
        ("y = Conv(h, v) z = Relu(h)", {"h": np.arange(1.0, 7)}),
    ):
        for beginning in (SILU, "h = HardSwish(a)"):
            model = build(rng, beginning, end)
            before = operator_types(model), list(model.graph.initializers)
            assert not EqualizeChannels(channel_ranges, insert=True)(model).modified
            assert (operator_types(model), list(model.graph.initializers)) == before


def test_says_why_even_a_product_does_not_help(rng):
    """Both reasons: the function that keeps no factor, and what stands behind it."""
    model = build(rng, "h = HardSwish(a)", "t = Add(h, slopes) y = Conv(t, v)")
    result = EqualizeChannels({"h": np.arange(1.0, 7)}, insert=True)(model)
    assert "HardSwish 'make_h' does not keep a factor" in result.refused["make_a"]
    assert "Add 'make_t' does not keep a factor" in result.refused["make_a"]
    model = build(rng, SILU, "y = Conv(h, v) z = Relu(h)")
    result = EqualizeChannels({"h": np.arange(1.0, 7)}, insert=True)(model)
    assert "Sigmoid 'make_s' does not keep a factor" in result.refused["make_a"]
    assert "Relu" not in result.refused["make_a"]
    assert "output of the graph" in result.refused["make_a"]


@pytest.mark.parametrize("beginning", [SILU, "h = HardSwish(a)"])
def test_points_of_a_scaled_function(rng, beginning):
    """What stands before the product is internal, what comes out still a little below zero."""
    model = build(rng, beginning, "m = Conv(h, square) r = Relu(m) y = Conv(r, v)")
    plain = {name: p for p in quantization_points(model.graph) for name in p.names}
    EqualizeChannels({"h": np.arange(1.0, 7)}, insert=True)(model)
    points = {name: p for p in quantization_points(model.graph) for name in p.names}
    assert plain["h"].slightly_negative
    assert not plain["h"].internal
    assert points["h_scaled"].slightly_negative
    assert not points["h_scaled"].internal
    assert {name for name, point in points.items() if point.internal} == (
        {"a", "s", "h"} if beginning == SILU else {"a", "h"}
    )


def test_runs_on_integers(rng, x):
    """All of it, and the folded weights undo what the integer product does."""
    model = build(rng, SILU, "m = Conv(h, square) y = Conv(m, v)")
    EqualizeChannels({"h": largest(values_of(model, ["h"], x)["h"])}, insert=True)(model)
    before = run_model(model, x=x)
    points = quantization_points(model.graph)
    names = [name for point in points for name in point.names]
    seen = values_of(model, [name for name in names if name != "x"], x) | {"x": x}
    grids = {
        name: Grid(int(exponent_of(np.abs(seen[name]).max())), 8, signed=not point.nonnegative)
        for point in points
        for name in point.names
    }
    QuantizeActivations(grids)(model)
    QuantizeWeights()(model)
    for step in (UnsignedActivations(), DerivedBiasScales()):
        step(model)
    kinds = operator_types(session.executed_graph(model))
    assert kinds.count("QLinearConv") == 3
    assert kinds.count("QLinearMul") == 2
    # Without the undoing in the layer behind it would be more than 1.
    assert relative_error(before, run_model(model, x=x)) < 0.06
