"""Scales, sizes and clipped shares of layers are those of the quantized graph."""

import math

import numpy as np
import pytest

from passes.analysis.log_affine import level_sets
from passes.arithmetic import Grid
from passes.graph import constant
from tests.calibration import GivenBatches, plan_of
from tests.passes.helpers import build_model
from zqc.calibration.histogram import add, empty
from zqc.progress import Silent
from zqc.quantization.candidates import calibrated
from zqc.quantization.equalize import Equalized
from zqc.quantization.layer_facts import InputRange, input_ranges, layer_facts
from zqc.quantization.quantize import quantize
from zqc.recipe.recipe import Recipe

TEXT = "(float[n,3,8,8] x) => (float[n,4,8,8] y) { a = Conv(x, w0) b = Relu(a) y = Conv(b, w1) }"


def ranges_of(values, grid):
    """What is known of an input with these values."""
    return InputRange(add(empty(), np.asarray(values, np.float32)), grid)


def test_the_share_that_is_clipped():
    """Values more than half a step outside of the grid count; those that are rounded do not."""
    grid = Grid(0, 8, signed=True)  # from -1 to 127/128
    inside = [-1.0, -1.003, 0.0, 0.5, 0.99, 0.995]
    assert ranges_of(inside, grid).clipped == 0
    assert ranges_of([*inside, 1.1, -3.0], grid).clipped == pytest.approx(2 / 8)
    assert math.isnan(InputRange(empty(), grid).clipped)


def test_shifted_grids():
    """The shift counts: an unsigned grid reaches as far below zero as it says."""
    grid = Grid(0, 8, signed=False, shift=64)  # from -1/4 to 191/256
    assert ranges_of([-0.25, 0.7], grid).clipped == 0
    assert ranges_of([-0.5, 0.7], grid).clipped == 0.5


def test_facts_of_layers():
    """Exponents of all scales, bytes of the integers, and the clipped share of what is read."""
    rng = np.random.default_rng(0)
    weights = {"w0": (8, 3, 1, 1), "w1": (4, 8, 1, 1)}
    arrays = {n: rng.normal(0, 1, shape).astype(np.float32) for n, shape in weights.items()}
    model = build_model(TEXT, **arrays)
    plan = plan_of(Recipe(bits=4, first_last_bits=4))
    x = rng.uniform(0, 1, (4, 3, 8, 8)).astype(np.float32)
    with Silent().task("", 0) as task:
        found = calibrated(Equalized(model), plan, GivenBatches(x), "none", {}, task=task)
    quantized = quantize(found.model, found.ranges, plan, means={})
    ranges = input_ranges(found)
    facts = layer_facts(quantized, ranges)
    layers = [node for node in quantized.graph if node.op_type == "Conv"]
    assert [fact.name for fact in facts] == [node.name for node in layers] == list(ranges)
    for fact, node, (shape) in zip(facts, layers, weights.values(), strict=True):
        scales = constant(node.inputs[1].producer().inputs[1])
        low, high = fact.weight_exponents
        assert (2.0**low, 2.0**high) == (scales.min(), scales.max())
        assert 2.0**fact.input_exponent == constant(node.inputs[0].producer().inputs[1])
        assert fact.weight_bytes == np.prod(shape) / 2
        assert 0 <= fact.clipped < 0.2


def test_levels():
    """Weights on levels take a code each, and a byte a channel."""
    weight = np.tile(level_sets(4)[[3, 9]], 6).reshape(2, 96, 1, 1)
    model = build_model(
        """(float[1,96,4,4] x) => (float[1,2,4,4] y) {
            w = DequantizeLinear<axis=0>(codes, steps) y = Conv(x, w) }""",
        codes=weight,
        steps=np.float32([0.5, 0.25]),
    )
    (fact,) = layer_facts(model, {})
    assert fact.log_affine
    assert fact.weight_bytes == 2 * 96 / 2 + 2


def test_float_layers():
    """Of a layer that is float nothing is said but its size."""
    model = build_model(TEXT, w0=np.ones((8, 3, 1, 1), np.float32), w1=np.ones((4, 8, 1, 1), "f4"))
    for fact in layer_facts(model, {}):
        assert fact.weight_exponents is None
        assert fact.input_exponent is None
        assert math.isnan(fact.clipped)
        assert fact.weight_bytes in (96, 128)
