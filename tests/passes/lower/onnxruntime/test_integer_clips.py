"""ReLU and ReLU6 are done by the grid or on the integers, bit for bit."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import IntegerClips, QuantizeActivations, SignedActivations, UnsignedActivations
from passes.arithmetic import Grid

PAIR = """(float[n] x) => (float[n] y {output}) {{
    a = {function}
    q = QuantizeLinear(a, s, z)
    y = DequantizeLinear(q, s, z)
    {more}
}}"""


def model_of(build, function, *, scale, point=0, kind=np.uint8, output="", more="", **bounds):
    """An activation function and a pair behind it."""
    text = PAIR.format(function=function, output=output, more=more)
    return build(text, s=float(scale), z=kind(point), **bounds)


def integer_bounds(model):
    """Upper bounds of the Clips of integers, in graph order."""
    clips = [n for n in model.graph if n.op_type == "Clip" and n.outputs[0].dtype != 1]
    return [int(n.inputs[2].const_value.numpy()) for n in clips]


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4), (8, 4), (4, 5)])
def test_values_stay(mixed, run, rng, operators, bits, act_bits):
    """A net with a ReLU and ReLU6 below and above the threshold loses them and keeps its bits."""
    model = mixed(bits, act_bits)
    UnsignedActivations()(model)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert IntegerClips()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert "Relu" not in operators(model)
    assert all(n.inputs[0].dtype == ir.DataType.UINT8 for n in model.graph if n.op_type == "Clip")
    assert 6 * 2**act_bits // 8 in integer_bounds(model)  # 6 of 8
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4), (8, 3)])
def test_signed_integers_too(mixed, run, rng, operators, bits, act_bits):
    """Where INT8 −128 stands for 0, the same activation functions go and every bit stays."""
    models = [mixed(bits, act_bits) for _ in range(2)]
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(models[0], x=x)
    for model, store in zip(models, (UnsignedActivations(), SignedActivations()), strict=True):
        store(model)
        assert IntegerClips()(model).modified
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        for name, values in run(model, x=x).items():
            np.testing.assert_array_equal(values, before[name])
    assert operators(models[0]) == operators(models[1])
    raised, signed = map(integer_bounds, models)
    assert [bound - 128 for bound in raised] == signed


def test_clips_that_are_kept_stand_between_pairs(mixed, run, rng):
    """With ``keep_clips`` the ReLU6 stays a Clip of floats, with equal pairs on both sides."""
    model = mixed(8, 8)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    UnsignedActivations()(model)
    assert IntegerClips(keep_clips=True)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert integer_bounds(model) == []
    clips = [node for node in model.graph if node.op_type == "Clip"]
    assert clips
    for clip in clips:
        pair, (use,) = clip.inputs[0].producer(), clip.outputs[0].uses()
        assert (pair.op_type, use.node.op_type) == ("DequantizeLinear", "QuantizeLinear")
        assert pair.inputs[1:] == use.node.inputs[1:]
    for name, values in run(model, x=x).items():
        np.testing.assert_array_equal(values, before[name])
    assert not IntegerClips(keep_clips=True)(model).modified


@pytest.mark.parametrize(
    ("function", "exponent", "clip"),
    [
        ("Relu(x)", 2, []),
        ("Clip(x, zero)", 2, []),
        ("Clip(x, zero, six)", 1, []),
        ("Clip(x, zero, six)", 2, []),
        ("Clip(x, zero, six)", 3, [192]),
        ("Clip(x, zero, six)", 4, [96]),
        ("Clip(x, zero, four)", 2, []),
    ],
)
def test_every_case(build, run, operators, function, exponent, clip):
    """The grid alone does what ends above its top; the rest is a Clip of integers."""
    scale = 2.0 ** (exponent - 8)
    bounds = {"zero": 0.0, "six": 6.0, "four": 4.0}
    bounds = {name: value for name, value in bounds.items() if name in function}
    model = model_of(build, function, scale=scale, **bounds)
    x = np.arange(-40 * 8, 40 * 8, dtype=np.float32) * np.float32(scale / 2)
    x = np.concatenate([x, np.linspace(-2, 20, 999, dtype=np.float32)])
    expected = run(model, x=x)["y"]
    assert IntegerClips()(model).modified
    assert integer_bounds(model) == clip
    assert operators(model)[0] == "QuantizeLinear"
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


def test_a_bound_above_a_narrower_clip_adds_none(build, run):
    """Behind 4 bits that end at 3.75 a ReLU6 does nothing, at whatever integer its bound lies."""
    model = build("(float[n] x) => (float[n] y) { y = Clip(x, zero, six) }", zero=0.0, six=6.0)
    QuantizeActivations({"y": Grid(2, 4, signed=False)})(model)
    UnsignedActivations()(model)
    x = np.linspace(-2, 9, 999, dtype=np.float32)
    expected = run(model, x=x)["y"]
    assert IntegerClips()(model).modified
    assert integer_bounds(model) == [15]
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("Relu(x)", {"scale": 0.5, "point": 128}),
        ("Relu(x)", {"scale": 0.5, "point": 3}),
        ("Clip(x, zero, six)", {"scale": 0.5, "point": 3, "zero": 0.0, "six": 6.0}),
        ("Relu(x)", {"scale": 0.5, "kind": np.int8}),
        ("Relu(x)", {"scale": 0.5, "more": "r = Neg(a)", "output": ", float[n] r"}),
        ("Relu(x)", {"scale": 0.5, "output": ", float[n] a"}),
        ("LeakyRelu(x)", {"scale": 0.5}),
        ("Clip(x, zero, third)", {"scale": 2.0**-8, "zero": 0.0, "third": 0.3}),
        ("Clip(x, zero, six)", {"scale": 4.0, "zero": 0.0, "six": 6.0}),
        ("Clip(x, one, six)", {"scale": 2.0**-5, "one": 1.0, "six": 6.0}),
    ],
    ids=[
        "zero point",
        "shift",
        "shift, bounded",
        "signed",
        "reader",
        "output",
        "other",
        "no integer",
        "too coarse",
        "minimum",
    ],
)
def test_declines(build, operators, function, options):
    """Another zero point or type, another reader, or a bound between two integers."""
    model = model_of(build, function, **options)
    before = operators(model)
    assert not IntegerClips()(model).modified
    assert operators(model) == before
