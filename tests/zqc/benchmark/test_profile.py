"""What kernels do and how many operations that is."""

import numpy as np
import pytest

from zqc.benchmark import profile
from zqc.runtime import session
from zqc.runtime.kernel_times import KernelTime

U8, F32 = ("uint8", (1, 4, 8, 8)), ("float", (1, 4, 8, 8))


def kernel(op_type, inputs=(F32,), outputs=(F32,), best=1e-3, name="n"):
    """A kernel that takes a millisecond."""
    return KernelTime(name, op_type, "P", 9.0, best, tuple(inputs), tuple(outputs))


def conv(data, weight, result, best=1e-3):
    """A QLinearConv of given shapes."""
    scale, zero = ("float", ()), ("uint8", ())
    inputs = (("uint8", data), scale, zero, ("int8", weight), scale, zero, scale, zero)
    return kernel("QLinearConv", inputs, (("uint8", result),), best, name="c_token_3")


@pytest.mark.parametrize(
    ("expected", "op_type", "inputs", "outputs"),
    [
        ("conversion", "QuantizeLinear", [F32], [U8]),
        ("conversion", "DequantizeLinear", [U8], [F32]),
        ("layout", "Transpose", [U8], [U8]),
        ("layout", "ReorderOutput", [F32], [F32]),
        ("integer", "QLinearSigmoid", [U8, ("float", ())], [U8]),
        ("integer", "MatMulIntegerToFloat", [U8, ("float", ())], [F32]),
        ("integer", "Clip", [U8], [U8]),
        ("integer", "Concat", [U8, U8], [U8]),
        ("float", "Concat", [F32, F32], [F32]),
        ("float", "Conv", [F32, F32], [F32]),
        ("conversion", "Cast", [U8], [F32]),
        ("float", "Cast", [F32], [("float16", (1,))]),
    ],
)
def test_kinds(expected, op_type, inputs, outputs):
    """By operator, or else by whether anything that goes in or out is float."""
    assert profile.kind(kernel(op_type, inputs, outputs)) == expected


def test_shares_and_operators():
    """Shares are of the kernels' fastest runs, and every kernel is in exactly one."""
    kernels = [
        kernel("Conv", best=5e-3),
        kernel("Concat", [U8], [U8], best=1e-3),
        kernel("Concat", best=1e-3),
        kernel("Concat", best=1e-3),
        kernel("Transpose", best=2e-3),
    ]
    found = profile.shares(kernels)
    assert found == pytest.approx({"float": 0.7, "integer": 0.1, "layout": 0.2, "conversion": 0.0})
    rows = profile.by_operator(kernels)
    assert [(r.op_type, r.kind, r.count) for r in rows] == [
        ("Conv", "float", 1),
        ("Concat", "float", 2),
        ("Transpose", "layout", 1),
        ("Concat", "integer", 1),
    ]
    assert [r.ms for r in rows] == pytest.approx([5, 2, 2, 1])
    assert sum(r.share for r in rows) == pytest.approx(1)


def test_layers():
    """Weighted layers in float and on integers; what only moves or activates is none."""
    kernels = [
        kernel(o) for o in ("Conv", "FusedConv", "QLinearConv", "QGemm", "Relu", "QLinearMul")
    ]
    assert profile.layers(kernels) == (4, 2)


@pytest.mark.parametrize(
    ("data", "weight", "result", "grouped"),
    [
        ((2, 16, 10, 12), (32, 16, 3, 3), (2, 32, 10, 12), False),
        ((2, 10, 12, 16), (32, 16, 3, 3), (2, 10, 12, 32), False),  # channels last
        ((1, 16, 10, 12), (16, 1, 3, 3), (1, 16, 5, 6), True),
        ((1, 10, 12, 16), (32, 4, 1, 1), (1, 10, 12, 32), True),
    ],
)
def test_multiplications_of_convolutions(data, weight, result, grouped):
    """They are those of a loop over outputs, channels of the group and the filter."""
    outputs = int(np.prod(result))
    expected = sum(1 for _ in np.ndindex(weight[1:])) * outputs
    assert profile.integer_macs(conv(data, weight, result)) == expected
    assert profile.is_grouped(conv(data, weight, result)) == grouped


@pytest.mark.parametrize(
    ("op_type", "left", "right"),
    [
        ("QLinearMatMul", (2, 5, 7), (7, 3)),
        ("MatMulInteger", (5, 7), (7, 3)),
        ("QGemm", (7, 5), (7, 3)),  # the left operand transposed
    ],
)
def test_multiplications_of_products(op_type, left, right):
    """Outputs by depth, 7."""
    result = (*left[:-1], 3) if op_type != "QGemm" else (5, 3)
    found = profile.integer_macs(kernel(op_type, [("uint8", left)], [("int32", result)]))
    assert found == int(np.prod(result)) * 7


@pytest.mark.parametrize(
    "other",
    [kernel("Conv"), kernel("QLinearMul"), kernel("QLinearConv", [U8]), kernel("QGemm", ())],
)
def test_no_multiplications(other):
    """Float kernels, other operators and unknown shapes have no number."""
    assert profile.integer_macs(other) is None


def test_throughput():
    """Operations of all chosen layers by their time, relative to the peak."""
    kernels = [
        conv((1, 16, 10, 10), (20, 16, 1, 1), (1, 20, 10, 10), best=1e-3),  # 32,000
        conv((1, 20, 10, 10), (10, 20, 1, 1), (1, 10, 10, 10), best=3e-3),  # 20,000
        conv((1, 10, 10, 10), (10, 1, 3, 3), (1, 10, 10, 10), best=1e-3),  # 9,000
        kernel("Conv", best=1.0),
    ]
    dense = profile.throughput(kernels, 0.1, grouped=False)
    assert (dense.layers, dense.gops) == (2, pytest.approx(2 * 52_000 / 4e-3 / 1e9))
    assert dense.of_peak == pytest.approx(dense.gops / 0.1)
    assert profile.throughput(kernels, 0.1, grouped=True).gops == pytest.approx(0.018)
    assert profile.throughput(kernels[3:], 0.1, grouped=False) is None
    slowest, _, second, _ = profile.each_kernel(kernels, 0.1)
    assert (slowest.op_type, slowest.gops) == ("Conv", None)
    assert second.name == "c"
    assert second.of_peak == pytest.approx(second.gops / 0.1)


def test_multiplications_of_what_runs(write, rng):
    """ONNX Runtime's own profile gives the number: 8 · 16 · 16 outputs of 3 · 3 · 3 each, twice."""
    path = write(quantized=True)
    feeds = {"x": rng.uniform(0, 1, (2, 3, 16, 16)).astype("f")}
    kernels = session.profile(path, feeds, runs=1, threads=1)
    counted = [profile.integer_macs(each) for each in kernels]
    assert [count for count in counted if count] == [2 * 8 * 16 * 16 * 27]
    assert profile.layers(kernels) == (1, 1)
