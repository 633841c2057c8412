"""Bias scales become products of two constants, of the same bits."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import DerivedBiasScales, QuantizeActivations, QuantizeWeights
from passes.arithmetic import Grid

LAYERS = {
    "Conv": ("Conv", (16, 4, 3, 3)),
    "Gemm": ("Gemm<transB=1>", (16, 4)),
    "ConvTranspose": ("ConvTranspose", (4, 16, 2, 2)),
}


def model_of(build, rng, *, layer="Conv", channels=16):
    """A quantized layer with that many outputs."""
    call, shape = LAYERS[layer]
    size = "" if len(shape) == 2 else ",5,5"
    model = build(
        f"(float[1,4{size}] x) => (float[{'n,c' if not size else 'n,c,h,w'}] y) "
        f"{{ y = {call}(x, w, b) }}",
        w=rng.normal(size=[channels if n == 16 else n for n in shape]).astype(np.float32),
        b=rng.normal(size=channels).astype(np.float32),
    )
    QuantizeActivations(dict.fromkeys("xy", Grid(2, 8, signed=True)))(model)
    QuantizeWeights()(model)
    return model


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 4)])
def test_values_stay(mixed, run, rng, operators, bits, act_bits):
    """The net with every operator computes the same bits; its two wide biases are derived."""
    model = mixed(bits, act_bits)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before, count = run(model, x=x), operators(model).count("Mul")
    assert DerivedBiasScales()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert operators(model).count("Mul") == count + 2
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_product_is_the_scale(build, run, rng, layer):
    """Input scale times weight scale, as ONNX Runtime computes it, is the stored scale's bits."""
    model = model_of(build, rng, layer=layer)
    (node,) = (n for n in model.graph if n.op_type == layer)
    stored = node.inputs[2].producer().inputs[1].const_value.numpy()
    assert DerivedBiasScales()(model).modified
    scale = node.inputs[2].producer().inputs[1]
    assert [v.name for v in scale.producer().inputs] == [
        node.inputs[i].producer().inputs[1].name for i in (0, 1)
    ]
    model.graph.outputs[0] = scale
    x = np.zeros((1, 4) if layer == "Gemm" else (1, 4, 5, 5), np.float32)
    np.testing.assert_array_equal(run(model, x=x)[scale.name], stored)


def test_a_small_bias_is_left_alone(build, rng):
    """Below 16 channels, or what the caller says, the node would be larger than the scales."""
    model = model_of(build, rng, channels=15)
    assert not DerivedBiasScales()(model).modified
    assert DerivedBiasScales(smallest=15)(model).modified


def test_another_scale_is_left_alone(build, rng):
    """A bias with a scale of its own keeps it."""
    model = model_of(build, rng)
    (node,) = (n for n in model.graph if n.op_type == "Conv")
    scale = node.inputs[2].producer().inputs[1]
    scale.const_value = ir.tensor(2 * scale.const_value.numpy())
    assert not DerivedBiasScales()(model).modified


def test_float_layers_are_left_alone(build, rng):
    """A float layer, one without bias and one with a float bias stay."""
    model = build(
        """(float[1,4,5,5] x) => (float[n,c,h,w] y) {
            a = Conv(x, w, b)
            d = Conv(a, w)
            y = Conv(d, w, b)
        }""",
        w=rng.normal(size=(4, 4, 1, 1)).astype(np.float32),
        b=rng.normal(size=4).astype(np.float32),
    )
    assert not DerivedBiasScales(smallest=1)(model).modified
