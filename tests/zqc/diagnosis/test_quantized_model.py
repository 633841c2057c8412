"""Any quantized model, read."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.diagnosed import LAYERS, canonical, quantized, tensors
from tests.passes.helpers import build_model, run_model
from zqc.diagnosis.quantized_model import plain_layers, read
from zqc.diagnosis.variants import rounded_parameters

FEEDS = {"images": tensors()}

QLINEAR = """(float[1,2,4,4] x) => (float[1,3,4,4] y) {
    q = QuantizeLinear(x, xs, xz)
    c = QLinearConv(q, xs, xz, w, ws, wz, ys, yz, b)
    y = DequantizeLinear(c, ys, yz)
}"""


def qlinear(rng):
    """A QLinearConv between a quantizer and a dequantizer."""
    return build_model(
        QLINEAR,
        opset=13,
        xs=0.02,
        xz=np.uint8(128),
        w=rng.integers(-127, 128, (3, 2, 1, 1)).astype(np.int8),
        ws=np.array([0.01, 0.02, 0.03], np.float32),
        wz=np.zeros(3, np.int8),
        ys=0.05,
        yz=np.uint8(120),
        b=np.array([100, -200, 300], np.int32),
    )


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


def test_a_rounding_does_what_the_pair_does(rng):
    """To the last bit, on its grid and beyond."""
    model = canonical(bits=8)
    rounding = next(x for x in read(model, FEEDS).layers if x.node.name == "stem").outputs[0]
    values = rng.uniform(-1, 2 * rounding.bounds[1], 1000).astype(np.float32)
    pair = build_model(
        """(float[1000] x) => (float[1000] y) {
            q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)
        }""",
        s=np.float32(rounding.step[0]),
        z=np.uint8(rounding.zero[0]),
    )
    np.testing.assert_array_equal(rounding.nearest(values), run_model(pair, x=values)["y"])


def test_the_threshold_of_a_rounding():
    """255 steps of 1/256 are a threshold of 1: 2^0."""
    stem = next(x for x in read(canonical(bits=8), FEEDS).layers if x.node.name == "stem")
    grid = quantized(bits=8)[2].candidate.ranges.grids["r1"]
    assert stem.outputs[0].exponent == grid.exponent
    assert stem.outputs[0].bits == 8


def test_factors_behind_a_head_are_read():
    """Those by which ``ScaleOutputs`` undoes the scales of channels."""
    found = {layer.node.name: layer for layer in read(canonical(bits=8), FEEDS).layers}
    assert found["deep"].factors is None
    factors = found["box_head"].factors
    assert factors is not None
    assert np.all(np.log2(factors) == np.rint(np.log2(factors)))


def test_integer_layers_become_float_ones_between_pairs(rng):
    """QLinearConv computes the same as a Conv of dequantized operands, but for one step."""
    model = qlinear(rng)
    x = rng.uniform(-2, 2, (1, 2, 4, 4)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    plain = ir.from_proto(ir.to_proto(model))
    plain_layers(plain.graph)
    types = {node.op_type for node in plain.graph}
    assert types == {"QuantizeLinear", "DequantizeLinear", "Conv", "Mul"}
    assert np.abs(run_model(plain, x=x)["y"] - expected).max() <= 0.05 + 1e-6
    (layer,) = read(model, {"x": x}).layers
    assert layer.bits == 8
    np.testing.assert_allclose(layer.bias, [0.02, -0.08, 0.18], rtol=1e-6)
