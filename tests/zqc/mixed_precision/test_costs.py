"""Predicted sizes against written files, predicted latencies against measured totals."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from passes import QuantizeActivations, QuantizeWeights
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid
from passes.lower.file_size.packed_weights import CHAIN_BYTES
from tests.calibration import lowered as lowered_to
from tests.passes.helpers import build_model
from zqc.errors import OptionError
from zqc.mixed_precision import costs
from zqc.mixed_precision.choice import choose_bits, widths_to_try
from zqc.mixed_precision.costs import latency_costs, size_costs, storages, useful_widths
from zqc.model_io import model_file
from zqc.recipe.recipe import Recipe
from zqc.runtime.kernel_times import KernelTime

NET = """(float[1,8,8,8] x) => (float[n,c,h,w] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b)
    p = Relu(a)
    b1 = Conv(p, w1, b)
    q = Relu(b1)
    c = Conv<pads=[1,1,1,1]>(q, w2, b)
    r = Relu(c)
    y = Conv(r, w3, b)
}"""
LAYERS = ["make_a", "make_b1", "make_c", "make_y"]


@pytest.fixture
def make(rng):
    """The net with so many channels, and what writes it."""

    def made(channels):
        shapes = {
            "w0": (channels, 8, 3, 3),
            "w1": (channels, channels, 1, 1),
            "w2": (channels, channels, 3, 3),
            "w3": (channels, channels, 1, 1),
            "b": (channels,),
        }
        arrays = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
        model = build_model(NET, **arrays)

        def written(bits):
            quantized = model.clone()
            points = quantization_points(quantized.graph)
            grids = {n: Grid(3, 8, not point.nonnegative) for point in points for n in point.names}
            QuantizeActivations(grids)(quantized)
            floats = [name for name, b in bits.items() if b == 32]
            QuantizeWeights(bits_of=bits, excluded=floats)(quantized)
            lowered = lowered_to(quantized, "ort-x86")
            return model_file.serialize(lowered, metadata={})

        return model, written

    return made


@pytest.fixture
def model(made):
    """Four layers of 16 channels."""
    return made[0]


@pytest.fixture
def build(made):
    """Write the file with given bits."""
    return made[1]


@pytest.fixture
def made(make):
    """The net of 16 channels and what writes it."""
    return make(16)


def test_useful_widths():
    """What takes no less room is left out: of what one or half a byte holds, the most bits stay."""
    assert useful_widths("portable") == (4, 8)
    assert useful_widths("portable", (2, 3)) == (3,)
    assert useful_widths("portable", (5, 6, 32)) == (6, 32)
    assert useful_widths("ort-x86") == (2, 3, 4, 5, 6, 8)
    assert useful_widths("ort-x86", range(2, 8)) == (2, 3, 4, 5, 6, 7)


EDGES = ("make_a", "make_y")


def mixtures(widths):
    """Every choice of the bits that layers may have."""
    for mixture in itertools.product(*widths.values()):
        yield dict(zip(widths, mixture, strict=True))


def test_what_is_written():
    """All layers in each storage that they may have; first and last ones keep theirs."""
    widths = {"a": (8,), "b": (4, 5, 8), "c": (3, 32), "d": (32,)}
    assert storages("ort-x86", widths) == {
        3: {"a": 8, "b": 8, "c": 3, "d": 32},
        4: {"a": 8, "b": 4, "c": 3, "d": 32},
        5: {"a": 8, "b": 5, "c": 3, "d": 32},
        8: {"a": 8, "b": 8, "c": 3, "d": 32},
        32: {"a": 8, "b": 8, "c": 32, "d": 32},
    }
    assert set(storages("portable", widths)) == {4, 8, 32}


@pytest.mark.parametrize("first_last", [(4, 8), (8,), (4,)])
def test_size_is_that_of_the_file(first_last, model, build):
    """Exact for what was measured, to 30 bytes a layer in every mixture of 4 and 8 bits."""
    widths = {name: first_last if name in EDGES else (4, 8) for name in LAYERS}
    written = storages("portable", widths)
    measured = {bits: len(build(bits_of)) for bits, bits_of in written.items()}
    found = size_costs(model, widths, measured, "portable")
    for bits, size in measured.items():
        assert found.total(written[bits]) == pytest.approx(size, abs=0.5)
    for bits in mixtures(widths):
        assert abs(found.total(bits) - len(build(bits))) <= 4 * 30


def test_packed_sizes_are_no_surprise(make, rng):
    """Whatever the mixture of widths, predictions are good to what unpacks them."""
    model, build = make(96)
    widths = {name: (8,) if name in EDGES else useful_widths("ort-x86") for name in LAYERS}
    written = storages("ort-x86", widths)
    measured = {bits: len(build(bits_of)) for bits, bits_of in written.items()}
    found = size_costs(model, widths, measured, "ort-x86")
    for bits in mixtures(widths):
        if rng.uniform() < 0.3:
            used = len(set(bits.values()) - {4, 8})
            assert abs(found.total(bits) - len(build(bits))) <= 100 + used * CHAIN_BYTES


def test_size_without_layers(model):
    """Nothing to choose leaves what was measured."""
    found = size_costs(model, {}, {8: 1000}, "ort-x86")
    assert (found.fixed, found.of) == (1000, {})


@pytest.fixture
def measured_times(monkeypatch):
    """3 ms in float, 1 ms on integers, 2 ms with all layers in float between the conversions."""
    profiles = {
        "integer": {"make_a_token_7": 1e-4, "make_b1": 1e-4, "make_c": 3e-4, "Transpose": 5e-4},
        "floating": {"a_nchwc": 2e-4, "make_b1_nchwc_token_2": 1e-4, "p_q": 9e-4, "c": 5e-4},
    }
    monkeypatch.setattr(costs.session, "load", lambda each, threads: each)
    monkeypatch.setattr(
        costs.session,
        "profile",
        lambda each, feeds, threads: [
            KernelTime(name, "", "", seconds, seconds) for name, seconds in profiles[each].items()
        ],
    )
    monkeypatch.setattr(costs, "median_latencies", lambda runners, feeds: [3.0, 1.0, 2.0])


def test_latency_adds_up(model, measured_times):
    """Kernels are found by node and by output; what they leave is shared by what they read."""
    before, found = latency_costs(model, LAYERS, ("float", "integer", "floating"), {}, (4, 8))
    assert (before, found.fixed) == (3.0, 1.0)
    assert found.total(dict.fromkeys(LAYERS, 4)) == found.total(dict.fromkeys(LAYERS, 8)) == 1.0
    assert found.total(dict.fromkeys(LAYERS, 32)) == pytest.approx(2.0)
    # 0.1 and 0.2 ms of the kernels, 0.7 ms by (8 + 16) and three times (16 + 16) channels.
    share = 0.7 / (24 + 3 * 32)
    expected = [0.1 + 24 * share, 32 * share, 0.2 + 32 * share, 32 * share]
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
    recipe = Recipe(target_size=0.6, target="portable")
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
    found = choose_bits(model, losses, replace(recipe, target_size=share), **options)
    assert found.bits == {"make_a": 8, "make_b1": 8, "make_c": 4, "make_y": 8}
    assert found.size == pytest.approx(len(build(found.bits)), abs=100)
    assert found.latency is None
    with pytest.raises(OptionError, match="--target-size"):
        choose_bits(model, losses, replace(recipe, target_size=0.01), **options)


def chosen_for_latency(model, recipe, build, monkeypatch):
    """Choose bits where the integer file is profiled first and the float one second."""
    sent = iter(["integer", "floating"])
    profile = costs.session.profile
    monkeypatch.setattr(
        costs.session, "profile", lambda each, feeds, threads: profile(next(sent), feeds, threads)
    )
    return choose_bits(
        model,
        table(model, recipe),
        recipe,
        original=model,
        original_size=1,
        build=build,
        feeds={},
    )


def test_a_latency_is_spent_on_the_layers_that_matter_most(
    model, build, measured_times, monkeypatch
):
    """Of two that cost the same the more sensitive one stays float; bits are the recipe's."""
    recipe = Recipe(bits=4, target_latency=1.45 / 3)
    assert widths_to_try(model, recipe)["make_b1"] == (4, 32)
    found = chosen_for_latency(model, recipe, build, monkeypatch)
    assert found.bits == {"make_a": 8, "make_b1": 32, "make_c": 4, "make_y": 32}
    assert (found.size, found.latency) == (None, pytest.approx(1.0 + 2 * 32 * 0.7 / 120))


def test_layers_that_share_their_weight_are_one_choice(model, build, measured_times, monkeypatch):
    """Their losses and their milliseconds add up, and they get the same bits."""
    inner = [node for node in model.graph if node.name in ("make_b1", "make_c")]
    inner[1].replace_input_with(1, inner[0].inputs[1])
    inner[1].attributes.clear()
    recipe = Recipe(bits=4, target_latency=1.65 / 3)
    found = chosen_for_latency(model, recipe, build, monkeypatch)
    assert found.bits["make_b1"] == found.bits["make_c"]
    assert set(found.bits) == set(LAYERS)
