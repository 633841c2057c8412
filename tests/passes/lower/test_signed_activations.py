"""Every quantized tensor becomes INT8 without changing a value."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import Int4WeightsByCast, IntegerClips, QuantizeActivations, SignedActivations
from passes.arithmetic import Grid
from tests.passes.helpers import check_stored
from tests.passes.shifted import picture, quantized_net
from zqc.runtime import session


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4), (8, 4)])
def test_values_stay(mixed, run, rng, bits, act_bits):
    """A net with every operator computes the same bits, its tensors all being INT8."""
    model = mixed(bits, act_bits)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert SignedActivations()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            assert node.inputs[2].dtype == node.outputs[0].dtype == ir.DataType.INT8
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


@pytest.mark.parametrize(
    ("bits", "signed", "shift", "zero", "clip"),
    [
        (8, True, 0, 0, None),
        (8, False, 0, -128, None),
        (8, False, 38, -90, None),
        (4, True, 0, 0, (-8, 7)),
        (4, False, 0, -128, (-128, -113)),
        (4, False, 3, -124, (-127, -112)),
    ],
)
def test_zero_points_and_clips(bits, signed, shift, zero, clip):
    """Each type gets its zero point and, below 8 bits, its Clip; values far outside saturate."""
    check_stored(SignedActivations(), Grid(1, bits, signed, shift), zero, clip)


@pytest.mark.parametrize("shape", [(), (4,)])
def test_a_constant_operand_is_stored_signed(build, run, rng, shape):
    """The constant of a Mul becomes INT8 with zero point -128, of the same value, a number too."""
    constant = np.asarray(rng.uniform(0.5, 2, shape), np.float32)
    model = build("(float[3,4] x) => (float[3,4] y) { y = Mul(x, k) }", k=constant)
    QuantizeActivations({"x": Grid(1, 8, signed=True)})(model)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    expected = run(model, x=x)["y"]
    SignedActivations()(model)
    dequantizer = model.graph[-1].inputs[1].producer()
    assert dequantizer.inputs[0].dtype == dequantizer.inputs[2].dtype == ir.DataType.INT8
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


@pytest.mark.parametrize(("bits", "act_bits", "multiple"), [(8, 8, 0), (8, 8, 2), (4, 4, 1)])
def test_every_convolution_fuses_by_the_rules_for_arm(run, operators, bits, act_bits, multiple):
    """With ReLUs done by the grids, all 8 layers are QLinearConv on INT8, shifted or not."""
    model = quantized_net(np.random.default_rng(3), bits, act_bits, multiple=multiple)
    x = picture(np.random.default_rng(4))
    expected = run(model, x=x)
    for rewrite in (SignedActivations(), IntegerClips(), Int4WeightsByCast()):
        rewrite(model)
    executed = session.executed_graph(model, arm=True)
    assert operators(executed).count("QLinearConv") == 8
    assert not {"Conv", "FusedConv"} & set(operators(executed))
    for name, values in run(model, x=x).items():
        np.testing.assert_array_equal(values, expected[name])


def test_nothing_to_do(build, operators):
    """A float graph stays."""
    model = build("(float[n] x) => (float[n] y) { y = Relu(x) }")
    assert not SignedActivations()(model).modified
    assert operators(model) == ["Relu"]
