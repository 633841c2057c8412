"""Tensors are stored in 8 bits, signed, unsigned or as they are, without changing a value."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import (
    Int4WeightsByCast,
    IntegerClips,
    QuantizeActivations,
    SignedActivations,
    UnsignedActivations,
    WideActivations,
)
from passes.arithmetic import Grid
from tests.passes.helpers import check_stored
from tests.passes.shifted import picture, quantized_net
from zqc.runtime import session

PRECISIONS = pytest.mark.parametrize(
    ("bits", "act_bits"), [(8, 8), (4, 8), (4, 4), (8, 4), (4, 3), (8, 5)]
)


@PRECISIONS
def test_values_stay_signed(mixed, run, rng, bits, act_bits):
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
        (5, True, 0, 0, (-16, 15)),
        (3, False, 0, -128, (-128, -121)),
        (6, False, 10, -118, (-128, -65)),
    ],
)
def test_zero_points_and_clips_signed(bits, signed, shift, zero, clip):
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


def test_nothing_to_do_signed(build, operators):
    """A float graph stays."""
    model = build("(float[n] x) => (float[n] y) { y = Relu(x) }")
    assert not SignedActivations()(model).modified
    assert operators(model) == ["Relu"]


@PRECISIONS
def test_values_stay_unsigned(mixed, run, rng, bits, act_bits):
    """A net with every operator computes the same bits, its tensors all being UINT8."""
    model = mixed(bits, act_bits)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert UnsignedActivations()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            assert node.inputs[2].dtype == node.outputs[0].dtype == ir.DataType.UINT8
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


@PRECISIONS
def test_weights_and_biases_are_left_alone(mixed, bits, act_bits):
    """What layers read beside their input is stored as before."""

    def parameters(model):
        layers = [node for node in model.graph if node.op_type == "Conv"]
        stored = [v.producer().inputs[0] for node in layers for v in node.inputs[1:]]
        return [(v.name, v.dtype, v.const_value.numpy().tolist()) for v in stored]

    model = mixed(bits, act_bits)
    before = parameters(model)
    UnsignedActivations()(model)
    assert parameters(model) == before


@pytest.mark.parametrize(
    ("bits", "signed", "shift", "zero", "clip"),
    [
        (8, True, 0, 128, None),
        (8, False, 0, 0, None),
        (8, False, 37, 37, None),
        (4, True, 0, 128, (120, 135)),
        (4, False, 0, 0, (0, 15)),
        (4, False, 2, 2, (0, 15)),
        (4, False, 3, 4, (1, 16)),
        (4, False, 15, 16, (1, 16)),
    ],
)
def test_zero_points_and_clips_unsigned(bits, signed, shift, zero, clip):
    """Each type gets its zero point and, below 8 bits, its Clip; values far outside saturate."""
    check_stored(UnsignedActivations(), Grid(1, bits, signed, shift), zero, clip)


@pytest.mark.exact_kernels
@pytest.mark.parametrize(("bits", "act_bits", "multiple"), [(8, 8, 2), (4, 4, 2), (4, 4, 1)])
def test_shifted_networks_fuse_as_unshifted_ones(run, operators, bits, act_bits, multiple):
    """Zero points cost no integer kernel; padding with them, and all kernels, keep every bit.

    At 4 bits odd shifts do so, too, because their zero points are raised to even ones.
    """
    executed = {}
    for shifts in (0, multiple):
        model = quantized_net(np.random.default_rng(3), bits, act_bits, multiple=shifts)
        x = picture(np.random.default_rng(4))
        expected = run(model, x=x)
        UnsignedActivations()(model)
        Int4WeightsByCast()(model)
        executed[shifts] = sorted(operators(session.executed_graph(model)))
        for outputs in (run(model, x=x), session.load(model, threads=1)({"x": x})):
            for name, values in expected.items():
                np.testing.assert_array_equal(outputs[name], values)
    assert executed[multiple].count("QLinearConv") == 8
    assert executed[multiple] == executed[0]


def test_a_constant_operand_is_stored_unsigned(build, run, rng):
    """The constant of a Mul becomes UINT8 with zero point 128, of the same value."""
    model = build(
        "(float[3,4] x) => (float[3,4] y) { y = Mul(x, k) }",
        k=rng.normal(size=4).astype(np.float32),
    )
    QuantizeActivations({"x": Grid(1, 8, signed=True)})(model)
    x = rng.normal(size=(3, 4)).astype(np.float32)
    expected = run(model, x=x)["y"]
    UnsignedActivations()(model)
    dequantizer = model.graph[-1].inputs[1].producer()
    assert dequantizer.inputs[0].dtype == dequantizer.inputs[2].dtype == ir.DataType.UINT8
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_nothing_to_do_unsigned(build, operators):
    """A float graph stays."""
    model = build("(float[n] x) => (float[n] y) { y = Relu(x) }")
    assert not UnsignedActivations()(model).modified
    assert operators(model) == ["Relu"]


@pytest.mark.parametrize("bits", [8, 4])
def test_values_stay_wide(mixed, run, rng, bits):
    """A net with every operator computes the same bits, no tensor having 4 of them any more."""
    model = mixed(bits, 4)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert WideActivations()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    kinds = {n.inputs[2].dtype for n in model.graph if n.op_type == "QuantizeLinear"}
    assert kinds == {ir.DataType.INT8, ir.DataType.UINT8}
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


@pytest.mark.parametrize(
    ("grid", "kind", "zero", "clip"),
    [
        (Grid(1, 4, True), np.int8, 0, (-8, 7)),
        (Grid(1, 4, False), np.uint8, 0, (0, 15)),
        (Grid(1, 4, False, 3), np.uint8, 4, (1, 16)),
    ],
)
def test_each_keeps_its_sign(build, run, grid, kind, zero, clip):
    """INT4 becomes INT8 and UINT4 UINT8, with a Clip to its range."""
    model = build("(float[n] x) => (float[n] y) { y = Identity(x) }")
    QuantizeActivations({"x": grid})(model)
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    expected = run(model, x=x)["y"]
    WideActivations()(model)
    quantizer, cut = (model.graph[0], model.graph[1])
    point = quantizer.inputs[2].const_value.numpy()
    assert (point.dtype, point) == (kind, zero)
    assert tuple(int(v.const_value.numpy()) for v in cut.inputs[1:]) == clip
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_eight_bits_stay(mixed):
    """Nothing is done to a net of 8 bits, whatever the signs."""
    assert not WideActivations()(mixed(8, 8)).modified
