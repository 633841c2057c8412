"""Pairs of QuantizeLinear and DequantizeLinear: recognised, read and built in one place."""

import numpy as np
import onnx_ir as ir
import pytest

from passes import QuantizeActivations
from passes.arithmetic import Grid, fake_quantize
from passes.graph import Namer, add_initializer, constant
from passes.qdq import (
    PairBuilder,
    best_grid,
    dequantized_constant,
    dequantized_scale,
    equal_pairs,
    integer_clip,
    pair_of,
)

NET = "(float[1,2,4,4] x) => (float[1,2,4,4] y) { a = Neg(x) y = Neg(a) }"


def test_a_pair_has_the_type_of_its_zero_point(build):
    """Names follow the tensor, the float side keeps its type and shape."""
    model = build(NET)
    name, graph = Namer(model.graph), model.graph
    scale = add_initializer(graph, name("s"), np.array(0.5, np.float32))
    zero = add_initializer(graph, name("z"), np.array(3, np.int8))
    q, dq = pair_of(graph[0].outputs[0], scale, zero, name)
    assert (q.name, dq.name) == ("a_q", "a_dq")
    assert (q.outputs[0].dtype, dq.outputs[0].dtype) == (ir.DataType.INT8, ir.DataType.FLOAT)
    assert dq.outputs[0].shape == graph[0].outputs[0].shape
    assert dequantized_scale(dq.outputs[0]) == 0.5
    assert dequantized_scale(q.outputs[0]) is None


def test_equal_constants_are_written_once(build):
    """Two tensors on one grid share its scale and zero point."""
    model = build(NET)
    builder = PairBuilder(model.graph, Namer(model.graph))
    for value in (model.graph.inputs[0], model.graph[0].outputs[0]):
        builder.quantize(value, Grid(1, 8, signed=True))
    assert len(model.graph.initializers) == 2


@pytest.mark.parametrize(("second", "equal"), [(Grid(1, 8, True), True), (Grid(2, 8, True), False)])
def test_pairs_of_one_grid(build, second, equal):
    """The integers before and the quantizer behind, only where both grids are the same."""
    model = build("(float[1,2,4,4] x) => (float[1,2,4,4] y) { m = Identity(x) y = Neg(m) }")
    QuantizeActivations({"x": Grid(1, 8, True), "m": second})(model)
    (middle,) = (node for node in model.graph if node.op_type == "Identity")
    found = equal_pairs(middle)
    assert (found is not None) == equal
    if found is not None:
        integers, quantizer = found
        assert integers.producer().op_type == quantizer.op_type == "QuantizeLinear"


def test_constants_behind_dequantizelinear(build):
    """Their value, with a scale per channel too; none with a zero point other than 0."""
    model = build(
        """(float[1] x) => (float[n,k] y, float[n2,k2] z) {
            y = DequantizeLinear<axis=0>(q, s)
            z = DequantizeLinear(q, one, three)
        }""",
        q=np.int8([[1, 2], [3, 4]]),
        s=np.float32([0.5, 0.25]),
        one=np.float32(1.0),
        three=np.int8(3),
    )
    scaled, shifted = (node.outputs[0] for node in model.graph)
    np.testing.assert_array_equal(dequantized_constant(scaled), [[0.5, 1.0], [0.75, 1.0]])
    assert dequantized_constant(shifted) is None
    assert dequantized_constant(model.graph.inputs[0]) is None


def test_integers_are_clipped_between_the_pair(build):
    """The bounds have the type of the integers."""
    model = build(NET)
    QuantizeActivations({"a": Grid(1, 8, signed=False)})(model)
    (quantizer,) = (node for node in model.graph if node.op_type == "QuantizeLinear")
    clipped = integer_clip(model.graph, quantizer, 2, 9, Namer(model.graph))
    bounds = [constant(value) for value in clipped.producer().inputs[1:]]
    assert [(bound.dtype, int(bound)) for bound in bounds] == [(np.uint8, 2), (np.uint8, 9)]


@pytest.mark.parametrize("signed", [False, True])
def test_the_best_grid_of_a_constant(rng, signed):
    """No other power of two has a smaller squared error; a negative number asks for a sign."""
    array = (
        rng.exponential(size=200) * (-1) ** np.arange(200) if signed else rng.exponential(size=9)
    )
    grid = best_grid(array)
    assert grid.signed == signed

    def error(exponent):
        other = Grid(exponent, 8, signed)
        return np.sum((fake_quantize(array, other.scale, bits=8, signed=signed) - array) ** 2)

    errors = {exponent: error(exponent) for exponent in range(-8, 9)}
    assert errors[grid.exponent] == min(errors.values())
