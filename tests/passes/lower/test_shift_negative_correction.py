"""Zero points of unsigned tensors become additions, and nobody behind them notices."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from passes import (
    Int4WeightsByCast,
    QuantizeActivations,
    QuantizeWeights,
    ShiftNegativeCorrection,
    UnsignedActivations,
)
from passes.arithmetic import Grid
from tests.passes.helpers import build_model, run_model
from tests.passes.shifted import corrected_of, picture, points, quantized_net, without_rounding
from zqc.runtime import session

PRECISIONS = pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8), (4, 4), (4, 5)])
SHIFTED = Grid(2, 8, signed=False, shift=40)
TOLERANCE = 1e-5  # relative to the largest output


@PRECISIONS
def test_a_network_keeps_its_bits(bits, act_bits):
    """With even shifts, where ties round alike, readers of every kind compute the same bits."""
    for seed in range(2):
        model = quantized_net(np.random.default_rng(seed), bits, act_bits)
        assert len([point for point in points(model) if point]) == 20
        corrected, x = corrected_of(model), picture(np.random.default_rng(seed + 10))
        expected, actual = run_model(model, x=x), run_model(corrected, x=x)
        for name, values in expected.items():
            np.testing.assert_array_equal(actual[name], values)


@pytest.mark.parametrize(("bits", "act_bits"), [(8, 8), (4, 8)])
def test_integer_kernels_break_ties_like_it(bits, act_bits):
    """With odd shifts, ONNX Runtime's kernels add the zero point before they round, as this does.

    That a tie goes to the other side is the whole difference to QuantizeLinear in the same net.
    """
    differences = 0
    for seed in range(4):
        model = quantized_net(np.random.default_rng(seed), bits, act_bits, multiple=1)
        corrected, x = corrected_of(model), picture(np.random.default_rng(9))
        fused = model.clone()
        UnsignedActivations()(fused)
        Int4WeightsByCast()(fused)
        expected, actual = session.load(fused, threads=1)({"x": x}), run_model(corrected, x=x)
        for name, written in run_model(model, x=x).items():
            np.testing.assert_array_equal(actual[name], expected[name])
            differences += int(np.sum(written != expected[name]))
    assert differences


@pytest.mark.parametrize("weights", [True, False], ids=["quantized", "float"])
@pytest.mark.parametrize("multiple", [1, 2])
def test_it_is_the_unshifted_network_in_float(error, weights, multiple):
    """Nothing rounded, ONNX Runtime and the ONNX reference compute the same function to 1e-5."""
    model = quantized_net(np.random.default_rng(1), multiple=multiple, weights=weights)
    corrected, x = corrected_of(model), picture(np.random.default_rng(2))
    plain, shifted = without_rounding(model), without_rounding(corrected)
    expected = run_model(plain, x=x)
    assert error(expected, run_model(shifted, x=x)) < TOLERANCE
    names = list(expected)
    outputs = ReferenceEvaluator(ir.to_proto(shifted)).run(names, {"x": x})
    assert error(expected, dict(zip(names, outputs, strict=True))) < TOLERANCE
    # Zeros instead of v around the pictures would be seen.
    for node in shifted.graph:
        if node.op_type == "Pad":
            node.resize_inputs(2)
    assert error(expected, run_model(shifted, x=x)) > 100 * TOLERANCE


def test_other_readers_and_outputs_see_the_old_value(operators, run, rng):
    """An operator, a branch and a graph output read one Sub; the output keeps its name."""
    model = build_model(
        """(float[1,2,5,5] x, bool k) => (float[1,2,5,5] a, float[1,2,5,5] z, float[1,2,5,5] y) {
            a = LeakyRelu<alpha=0.1>(x)
            y = Neg(a)
            z = If(k) <
                then_branch = then () => (float[1,2,5,5] t) { t = Neg(a) },
                else_branch = other () => (float[1,2,5,5] e) { e = Abs(a) }
            >
        }"""
    )
    QuantizeActivations({"a": SHIFTED})(model)
    corrected = corrected_of(model)
    assert operators(corrected).count("Sub") == 1
    assert [output.name for output in corrected.graph.outputs] == ["a", "z", "y"]
    x, k = rng.normal(size=(1, 2, 5, 5)).astype(np.float32), np.array(True)
    expected, actual = run(model, x=x, k=k), run(corrected, x=x, k=k)
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values)


def test_equal_frames_are_written_once(operators, rng, run):
    """Readers that pad alike share a Pad; one that pads otherwise gets its own."""
    model = build_model(
        """(float[1,4,6,6] x) => (float[n,c,h,w] y, float[n,c,h,w] z) {
            a = Conv<pads=[1,1,1,1]>(x, w)
            b = Conv<pads=[1,1,1,1]>(x, w)
            y = Add(a, b)
            z = Conv<pads=[0,1,1,1]>(x, w)
        }""",
        w=rng.normal(size=(4, 4, 3, 3)).astype(np.float32),
    )
    QuantizeActivations({"x": SHIFTED})(model)
    QuantizeWeights()(model)
    corrected = corrected_of(model)
    assert operators(corrected).count("Pad") == 2
    x = rng.normal(size=(1, 4, 6, 6)).astype(np.float32)
    expected, actual = run(model, x=x), run(corrected, x=x)
    for name, values in expected.items():
        np.testing.assert_array_equal(actual[name], values)


@pytest.mark.parametrize(
    ("call", "selects"),
    [
        ("MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x)", True),
        ("Transpose<perm=[0,2,3,1]>(x)", True),
        ('Resize<mode="nearest">(x, , scales)', True),
        ('Resize<mode="linear">(x, , scales)', False),
        ("AveragePool<kernel_shape=[2,2]>(x)", False),
        ("Tanh(x)", False),
    ],
)
@pytest.mark.parametrize("other", [SHIFTED, Grid(2, 8, False, 10), Grid(3, 8, True)], ids=str)
def test_selected_values_hand_the_shift_on(operators, run, rng, call, selects, other):
    """A pair behind such an operator adds what its own shift is more, nothing on the same grid."""
    model = build_model(
        f"(float[1,2,4,4] x) => (float[n,c,h,w] y) {{ m = {call} y = Neg(m) }}",
        **({"scales": np.float32([1, 1, 2, 2])} if "scales" in call else {}),
    )
    QuantizeActivations({"x": SHIFTED, "m": other})(model)
    corrected = corrected_of(model)
    behind = operators(corrected)[
        operators(corrected).index(call.partition("<")[0].partition("(")[0]) :
    ]
    if selects:
        assert ("Add" in behind) is (other != SHIFTED)
        assert operators(corrected).count("Sub") == (not other.signed)
    x = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(corrected, x=x)["y"], run(model, x=x)["y"])


def test_only_ties_differ(run):
    """Where the results differ, the value lies half-way, and both are the nearest on the grid."""
    model = build_model("(float[n] x) => (float[n] y) { y = Identity(x) }")
    grid = Grid(0, 8, signed=False, shift=17)
    QuantizeActivations({"x": grid})(model)
    halves = np.arange(-40, 520).astype(np.float32) / 2 * np.float32(grid.scale)
    x = np.concatenate([halves, np.linspace(-0.1, 1, 5000, dtype=np.float32)])
    kept, moved = run(model, x=x)["y"], run(corrected_of(model), x=x)["y"]
    differ = kept != moved
    assert differ[: len(halves)].any()
    assert not differ[len(halves) :].any()
    np.testing.assert_array_equal(np.abs(kept - x)[differ], np.abs(moved - x)[differ])


def test_nothing_to_do(build, operators):
    """Unshifted tensors stay, and so does a pair whose integers something else reads."""
    model = build("(float[n] x) => (float[n] y) { y = Relu(x) }")
    QuantizeActivations({"x": Grid(0, 4, signed=True), "y": Grid(0, 8, signed=False)})(model)
    assert not ShiftNegativeCorrection()(model).modified
    model = build(
        """(float[n] x) => (float[n] y, uint8[n] i) {
            q = QuantizeLinear(x, scale, zero)
            d = DequantizeLinear(q, scale, zero)
            y = Relu(d)
            i = Identity(q)
        }""",
        scale=0.25,
        zero=np.array(2, np.uint8),
    )
    before = operators(model)
    assert not ShiftNegativeCorrection()(model).modified
    assert operators(model) == before
