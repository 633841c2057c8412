"""Weights on levels are stored as codes and come out of them unchanged."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import CodedWeights, Int4WeightsByCast, PackedWeights
from passes.analysis.log_affine import WIDTHS, level_sets
from zqc.runtime import session

TEXT = """(float[2,12,8,8] x) => (float[2,m] y) {
    d0 = DequantizeLinear<axis=0>(w0, s0) c0 = Conv(x, d0)
    d1 = DequantizeLinear<axis=0>(w1, s1) c1 = Conv<pads=[1,1,1,1]>(c0, d1)
    d2 = DequantizeLinear<axis=0>(w2, s0) c2 = Conv(c1, d2)
    f = Flatten(c2)
    d3 = DequantizeLinear<axis=1>(w3, s3) y = MatMul(f, d3) }"""
SHAPES = {"w0": (16, 12, 3, 3), "w1": (12, 16, 3, 3), "w2": (16, 12, 3, 3), "w3": (256, 40)}


def weights(rng, bits, shape, axis):
    """Weights of which every channel stands on levels of its own."""
    sets = level_sets(bits)
    size = int(np.prod(shape)) // shape[axis]
    own = sets[rng.integers(0, len(sets), shape[axis])]
    rows = np.take_along_axis(own, rng.integers(0, 1 << bits, (shape[axis], size)), axis=1)
    rows[:, :2] = own[:, [0, -1]]
    moved = (shape[axis], *(n for i, n in enumerate(shape) if i != axis))
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


@pytest.fixture
def net(build, rng):
    """Two layers with as many weights in a channel, one with more, and a matrix."""

    def made(bits):
        arrays = {n: weights(rng, bits, s, int(n == "w3")) for n, s in SHAPES.items()}
        steps = {"s0": (16,), "s1": (12,), "s3": (40,)}
        arrays |= {n: np.exp2(rng.integers(-9, -5, s)).astype(np.float32) for n, s in steps.items()}
        return build(TEXT, **arrays)

    return made


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("int4", [True, False], ids=["int4", "packed"])
def test_values_stay(bits, int4, net, rng, operators):
    """With codes in INT4 or in packed bytes the results are the same, and everything is folded."""
    model = net(bits)
    x = rng.normal(size=(2, 12, 8, 8)).astype(np.float32)
    ways = (False, True)
    before = [session.load(model, threads=1, optimize=way)({"x": x})["y"] for way in ways]
    assert CodedWeights()(model).modified
    assert PackedWeights((2, 3, 5, 6) if int4 else (2, 3, 4, 5, 6))(model).modified == (
        bits == 3 or not int4
    )
    Int4WeightsByCast()(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = [session.load(model, threads=1, optimize=way)({"x": x})["y"] for way in ways]
    np.testing.assert_array_equal(after, before)
    left = set(operators(session.executed_graph(model)))
    assert not {"GatherElements", "Gather", "Cast", "Reshape", "Transpose", "Split"} & left
    assert not CodedWeights()(model).modified


@pytest.mark.parametrize("bits", WIDTHS)
def test_bytes_of_the_weights(bits, net):
    """What is stored is one code a weight and one byte a channel, besides the shared levels."""
    model = net(bits)
    CodedWeights()(model)
    counted = sum(int(np.prod(shape)) for shape in SHAPES.values())
    values = model.graph.initializers.values()
    codes = [v for v in values if v.dtype == ir.DataType.INT4]
    assert sum(v.const_value.size for v in codes) == counted
    (sets,) = [[v.const_value.size for v in values if v.dtype == ir.DataType.UINT8]]
    assert sum(sets) == 16 + 12 + 16 + 40
    assert len(codes) == 3  # w0 and w2 share


def test_operators_of_opset_13(net):
    """Packed, the graph is valid where INT4 is not known."""
    model = net(4)
    CodedWeights()(model)
    PackedWeights((2, 3, 4, 5, 6))(model)
    model.opset_imports[""] = 13
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_declined(net, rng):
    """Weights of 8 bits, those of a narrow grid, and what an output shows stay as they are."""
    model = net(4)
    values = model.graph.initializers
    for name, low, high in (("w0", -128, 127), ("w1", -8, 7)):
        array = rng.integers(low, high, SHAPES[name], endpoint=True).astype(np.int8)
        values[name].const_value = ir.tensor(array, name=name)
    values["w2"].const_value = ir.tensor(np.zeros(SHAPES["w2"], np.int8), name="w2")
    CodedWeights()(model)
    assert {"w0", "w1", "w2"} <= set(values)
    assert "w3" not in values
