"""Predicted sizes against written files, predicted latencies against measured totals."""

import itertools

import numpy as np
import pytest

from passes import QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid
from passes.placement import quantization_points
from tests.passes.helpers import build_model
from zqc import model_io, quantization
from zqc.errors import OptionError
from zqc.mixed_precision import choose_bits, costs, widths_to_try
from zqc.mixed_precision.costs import latency_costs, size_costs, useful_widths
from zqc.recipe import Recipe

NET = """(float[1,4,8,8] x) => (float[n,c,h,w] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b)
    p = Relu(a)
    b1 = Conv(p, w1, b)
    q = Relu(b1)
    c = Conv<pads=[1,1,1,1]>(q, w2, b)
    r = Relu(c)
    y = Conv(r, w1, b)
}"""
LAYERS = ["make_a", "make_b1", "make_c", "make_y"]


@pytest.fixture
def model(rng):
    """Four layers of 16 channels; two of them share a weight."""
    shapes = {"w0": (16, 4, 3, 3), "w1": (16, 16, 1, 1), "w2": (16, 16, 3, 3), "b": (16,)}
    return build_model(NET, **{n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})


@pytest.fixture
def build(model):
    """Write the file with given bits."""

    def written(bits):
        quantized = model.clone()
        points = quantization_points(quantized.graph)
        grids = {n: Grid(3, 8, not point.nonnegative) for point in points for n in point.names}
        QuantizeActivations(grids)(quantized)
        floats = [name for name, b in bits.items() if b == 32]
        QuantizeWeights(bits_of=bits, keep_float=floats)(quantized)
        return model_io.serialize(quantization.lower(quantized, "ort-x86"), metadata={})

    return written


def test_useful_widths():
    """What takes no less room is left out: of what one or half a byte holds, the most bits stay."""
    assert useful_widths("ort-x86") == (4, 8)
    assert useful_widths("portable", (2, 3)) == (3,)
    assert useful_widths("ort-x86", (5, 6, 32)) == (6, 32)


def test_size_is_that_of_the_file(model, build):
    """Exact where all layers are alike, to 30 bytes a layer in every mixture of 4 and 8 bits."""
    measured = {b: len(build(dict.fromkeys(LAYERS, b))) for b in (4, 8)}
    found = size_costs(model, LAYERS, measured, "ort-x86")
    for bits, size in measured.items():
        assert found.total(dict.fromkeys(LAYERS, bits)) == pytest.approx(size, abs=0.5)
    assert {b for of in found.of.values() for b in of} == set(range(2, 9))
    for mixture in itertools.product((4, 8), repeat=4):
        bits = dict(zip(LAYERS, mixture, strict=True))
        assert abs(found.total(bits) - len(build(bits))) <= 4 * 30


def test_size_without_layers(model):
    """Nothing to choose leaves the smallest of what was measured."""
    found = size_costs(model, [], {8: 1000}, "ort-x86")
    assert (found.fixed, found.of) == (1000, {})


@pytest.fixture
def measured_times(monkeypatch):
    """3 ms in float, 1 ms on integers, 2 ms with all layers in float between the conversions."""
    profiles = {
        "integer": {"make_a_token_7": 1e-4, "make_b1": 1e-4, "make_c": 3e-4, "Transpose": 5e-4},
        "floating": {"a_nchwc": 2e-4, "make_b1_nchwc_token_2": 1e-4, "p_q": 9e-4, "c": 5e-4},
    }
    monkeypatch.setattr(costs.runtime, "load", lambda each, threads: each)
    monkeypatch.setattr(costs.runtime, "profile", lambda each, feeds, threads: profiles[each])
    monkeypatch.setattr(costs, "median_latencies", lambda runners, feeds: [3.0, 1.0, 2.0])


def test_latency_adds_up(model, measured_times):
    """Kernels are found by node and by output; what they leave is shared by what they read."""
    before, found = latency_costs(model, LAYERS, ("float", "integer", "floating"), {}, (4, 8))
    assert (before, found.fixed) == (3.0, 1.0)
    assert found.total(dict.fromkeys(LAYERS, 4)) == found.total(dict.fromkeys(LAYERS, 8)) == 1.0
    assert found.total(dict.fromkeys(LAYERS, 32)) == pytest.approx(2.0)
    # 0.1 and 0.2 ms of the kernels, 0.7 ms by (4 + 16) and three times (16 + 16) channels.
    share = 0.7 / (20 + 3 * 32)
    expected = [0.1 + 20 * share, 32 * share, 0.2 + 32 * share, 32 * share]
    assert [found.of[name][32] for name in LAYERS] == pytest.approx(expected)


LOSSES = {"make_a": 1.0, "make_b1": 8.0, "make_c": 4.0, "make_y": 2.0}


def table(model, recipe):
    """Losses that fall with the square of the step."""
    return {
        name: {b: 0.0 if b == 32 else LOSSES[name] * 4.0**-b for b in widths}
        for name, widths in widths_to_try(model, recipe).items()
    }


def test_a_size_is_reached_with_the_layer_that_matters_least(model, build):
    """First and last stay at 8 bits; of the others the one that saves most for its loss is cut."""
    recipe = Recipe(target_size=0.6)
    assert widths_to_try(model, recipe) == {
        "make_a": (8,),
        "make_b1": (4, 8),
        "make_c": (4, 8),
        "make_y": (8,),
    }
    size = 2 * len(build(dict.fromkeys(LAYERS, 8))) - 1500
    options = {"original": model, "original_size": size, "build": build, "feeds": {}}
    losses = table(model, recipe)
    share = (len(build({"make_c": 4})) + 50) / size
    found = choose_bits(model, losses, Recipe(target_size=share), **options)
    assert found.bits == {"make_a": 8, "make_b1": 8, "make_c": 4, "make_y": 8}
    assert found.size == pytest.approx(len(build(found.bits)), abs=100)
    assert found.latency is None
    with pytest.raises(OptionError, match="--target-size"):
        choose_bits(model, losses, Recipe(target_size=0.01), **options)


def test_a_latency_is_spent_on_the_layers_that_matter_most(
    model, build, measured_times, monkeypatch
):
    """Of two that cost the same the more sensitive one stays float; bits are the recipe's."""
    recipe = Recipe(bits=4, target_latency=1.45 / 3)
    assert widths_to_try(model, recipe)["make_b1"] == (4, 32)
    sent = iter(["integer", "floating"])
    profile = costs.runtime.profile
    monkeypatch.setattr(
        costs.runtime, "profile", lambda each, feeds, threads: profile(next(sent), feeds, threads)
    )
    found = choose_bits(
        model,
        table(model, recipe),
        recipe,
        original=model,
        original_size=1,
        build=build,
        feeds={},
    )
    assert found.bits == {"make_a": 8, "make_b1": 32, "make_c": 4, "make_y": 32}
    assert (found.size, found.latency) == (None, pytest.approx(1.0 + 2 * 32 * 0.7 / 116))
