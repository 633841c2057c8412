"""Any quantized model, read."""

import ml_dtypes
import numpy as np
import pytest

from passes.analysis.log_affine import level_sets
from tests.diagnosed import LAYERS, canonical, quantized, tensors
from tests.passes.helpers import build_model
from tests.passes.shifted import corrected_of, picture, quantized_net
from zqc.diagnosis.read_quantized import read
from zqc.diagnosis.variants import rounded_parameters

FEEDS = {"images": tensors()}
STORED = """(float[1,2,4,4] x) => (float[1,3,4,4] y) {
    w = DequantizeLinear(codes, step, zero) y = Conv(x, w)
}"""


@pytest.mark.parametrize("lowered", [False, True])
def test_layers_are_read_as_they_were_written(lowered):
    """From a canonical model, and from a file whose weights and scales are packed."""
    _, plan, outcome = quantized(bits=4)
    model = canonical(bits=4)
    expected = rounded_parameters(model)
    if lowered:
        model = plan.target.lower(model)
    found = {layer.node.name: layer for layer in read(model, FEEDS).layers}
    assert set(found) == set(LAYERS)
    for name in ("depthwise", "deep", "shortcut"):  # the others are written on blocks of columns
        np.testing.assert_allclose(found[name].weight, expected[name].weight, rtol=1e-6)
        np.testing.assert_allclose(found[name].bias, expected[name].bias, rtol=1e-5)
        assert found[name].bits == 4
    assert outcome.candidate.ranges.grids["r1"].scale == found["stem"].outputs[-1].step[0]


def test_roundings_belong_to_the_layer_that_they_stand_behind():
    """Three for SiLU, one for ReLU; the sum's is the input of those that read it."""
    found = {layer.node.name: layer for layer in read(canonical(bits=8), FEEDS).layers}
    assert [rounding.path for rounding in found["depthwise"].outputs] == [
        (),
        ("Sigmoid",),
        ("Sigmoid", "Mul"),
    ]
    assert len(found["stem"].outputs) == 1
    assert found["deep"].source == found["depthwise"].outputs[-1]
    assert found["box_head"].source not in found["shortcut"].outputs


def test_shifts_are_zero_points():
    """What is added in place of zero points, and taken out of biases, is read as if it were them.

    Of layers before which it is taken out by a Sub nobody knows the grid of the input any more.
    """
    model = quantized_net(np.random.default_rng(0), 8, 8)
    feeds = {"x": picture(np.random.default_rng(1))}
    before = {layer.node.name: layer for layer in read(model, feeds).layers}
    after = {layer.node.name: layer for layer in read(corrected_of(model), feeds).layers}
    assert set(after) == set(before)
    seen = 0
    for name, layer in after.items():
        assert [r.path for r in layer.outputs] == [r.path for r in before[name].outputs]
        for ours, theirs in zip(layer.outputs, before[name].outputs, strict=True):
            assert (ours.step, ours.zero, ours.zero_back) == (theirs.step, theirs.zero, theirs.zero)
            seen += ours.zero[0] > 0
        if layer.source is not None and layer.bias is not None:
            bias = before[name].bias if before[name].bias is not None else 0.0
            np.testing.assert_allclose(layer.bias, bias + np.zeros_like(layer.bias), atol=1e-5)
    assert seen > 3


def test_factors_behind_a_head_are_read():
    """Those by which ``ScaleOutputs`` undoes the scales of channels."""
    found = {layer.node.name: layer for layer in read(canonical(bits=8), FEEDS).layers}
    assert found["deep"].factors is None
    factors = found["box_head"].factors
    assert factors is not None
    assert np.all(np.log2(factors) == np.rint(np.log2(factors)))


@pytest.mark.parametrize(
    ("low", "high", "zero", "bits"),
    [
        (-8, 7, np.int8(0), 4),
        (-7, 7, np.int8(0), 4),
        (-8, 8, np.int8(0), 5),
        (-9, 7, np.int8(0), 5),
        (-2, 1, np.int8(0), 2),
        (0, 0, np.int8(0), 2),  # fewer than two bits are not stored
        (-128, 127, np.int8(0), 8),
        (0, 15, np.uint8(8), 4),
        (120, 135, np.uint8(128), 4),
        (0, 255, np.uint8(128), 8),
        (0, 255, np.uint8(100), 8),  # zero is no number in the middle
        (0, 15, ml_dtypes.uint4(8), 4),
    ],
)
def test_bits_are_those_that_the_integers_need(low, high, zero, bits):
    """Around their zero point, and never more than their type has."""
    codes = np.full((3, 2, 1, 1), low, zero.dtype)
    codes[0, 0] = high
    model = build_model(STORED, opset=21, codes=codes, step=np.float32(0.1), zero=zero)
    (layer,) = read(model, {"x": np.zeros((1, 2, 4, 4), np.float32)}).layers
    assert layer.bits == bits


def test_levels_have_the_bits_of_their_codes(rng):
    """Weights on levels (``passes.analysis.log_affine``) are integers of 7 bits, chosen by 4."""
    levels = level_sets(4)[rng.integers(0, 16, 3)]
    codes = np.take_along_axis(levels, rng.integers(0, 16, (3, 80)), axis=1).reshape(3, 80, 1, 1)
    text = STORED.replace("[1,2,4,4]", "[1,80,4,4]").replace("Linear(", "Linear<axis=0>(")
    step, zero = np.full(3, np.float32(0.1)), np.zeros(3, np.int8)
    model = build_model(text, opset=21, codes=codes, step=step, zero=zero)
    (layer,) = read(model, {"x": np.zeros((1, 80, 4, 4), np.float32)}).layers
    assert layer.bits == 4


def test_float_weights_have_32_bits():
    """A layer whose input alone is quantized, or nothing at all."""
    text = "(float[1,2,4,4] x) => (float[1,3,4,4] y) { y = Conv(x, w) }"
    model = build_model(text, w=np.ones((3, 2, 1, 1), np.float32))
    found = read(model, {"x": np.zeros((1, 2, 4, 4), np.float32)})
    assert [layer.bits for layer in found.layers] == [32]
    assert (found.roundings, found.layers[0].source) == ({}, None)


def test_the_model_is_left_as_it_is():
    """Names and outputs are given to a copy."""
    model = canonical(bits=8)
    before = [(node.name, node.op_type) for node in model.graph]
    outputs = [value.name for value in model.graph.outputs]
    found = read(model, FEEDS)
    assert [(node.name, node.op_type) for node in model.graph] == before
    assert [value.name for value in model.graph.outputs] == outputs
    assert found.model is not model
