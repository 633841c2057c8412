"""QuantizeLinear → DequantizeLinear on tensors."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations
from passes.arithmetic import Grid, fake_quantize
from passes.qdq import best_grid, dequantized_scale

NET = """(float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] a) {
    a = Tanh(x)
    b = Relu(a)
    c = Neg(a)
    y = Add(b, c)
}"""
GRIDS = {
    "x": Grid(2, 8, signed=True),
    "a": Grid(0, 4, signed=True),
    "b": Grid(0, 4, signed=False),
    "y": Grid(-1, 8, signed=False),
}


@pytest.fixture
def x(rng):
    """Some values beyond the threshold 4."""
    return rng.normal(0, 2, (1, 2, 4, 4)).astype(np.float32)


def on(grid, values):
    """Values on a grid."""
    return fake_quantize(values, grid.scale, bits=grid.bits, signed=grid.signed)


def test_values_are_those_of_the_arithmetic(build, run, x):
    """The whole graph computes what fake_quantize after every operator computes, bit for bit."""
    model = build(NET)
    tanh = build("(float[1,2,4,4] x) => (float[1,2,4,4] t) { t = Tanh(x) }")
    assert QuantizeActivations(GRIDS)(model).modified
    got = run(model, x=x)
    a = on(GRIDS["a"], run(tanh, x=on(GRIDS["x"], x))["t"])
    y = on(GRIDS["y"], on(GRIDS["b"], np.maximum(a, 0)) - a)
    np.testing.assert_array_equal(got["a"], a)
    np.testing.assert_array_equal(got["y"], y)
    assert len(np.unique(got["a"])) <= 16


def test_every_reader_reads_the_dequantized_value(build):
    """No operator but QuantizeLinear reads a quantized tensor itself, inside a branch neither."""
    model = build(
        """(float[4] x, bool k) => (float[4] z, float[4] y) {
            y = Tanh(x)
            z = If(k) <
                then_branch = then () => (float[4] t) { t = Neg(y) },
                else_branch = other () => (float[4] e) { e = Abs(y) }
            >
        }"""
    )
    QuantizeActivations({"y": GRIDS["a"]})(model)
    tanh = model.graph[0]
    assert [use.node.op_type for use in tanh.outputs[0].uses()] == ["QuantizeLinear"]
    assert [output.name for output in model.graph.outputs] == ["z", "y"]
    assert dequantized_scale(model.graph.outputs[1]) == GRIDS["a"].scale
    branches = [use.node.op_type for use in model.graph.outputs[1].uses()]
    assert sorted(branches) == ["Abs", "Neg"]


def test_outputs_keep_their_names_and_the_model_is_valid(build):
    """The standard's checker passes with shape inference, and the interface stays."""
    model = build(NET)
    QuantizeActivations(GRIDS)(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert [value.name for value in model.graph.outputs] == ["y", "a"]


@pytest.mark.parametrize(
    ("grid", "kind"),
    [
        (Grid(0, 8, signed=True), ir.DataType.INT8),
        (Grid(0, 8, signed=False), ir.DataType.UINT8),
        (Grid(0, 4, signed=True), ir.DataType.INT4),
        (Grid(0, 4, signed=False), ir.DataType.UINT4),
        (Grid(0, 5, signed=True), ir.DataType.INT8),
        (Grid(0, 3, signed=False), ir.DataType.UINT8),
    ],
)
def test_types_follow_the_grid(build, grid, kind):
    """Bits and sign decide the integer type; the zero point is 0."""
    model = build(NET)
    QuantizeActivations({"a": grid})(model)
    quantizer = next(node for node in model.graph if node.op_type == "QuantizeLinear")
    assert quantizer.inputs[2].dtype == kind
    assert quantizer.inputs[2].const_value.numpy() == 0
    assert quantizer.outputs[0].dtype == kind


@pytest.mark.parametrize(("bits", "signed"), [(3, False), (5, True), (6, False), (7, True)])
def test_bits_of_no_type_are_a_clip_of_the_integers(build, run, operators, x, bits, signed):
    """Its values are those of the grid, also far outside of it, and no more than it has."""
    model = build("(float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Identity(x) }")
    grid = Grid(-1, bits, signed)
    QuantizeActivations({"x": grid})(model)
    assert operators(model) == ["QuantizeLinear", "Clip", "DequantizeLinear", "Identity"]
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_array_equal(run(model, x=x)["y"], grid.nearest(x))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_shift_is_the_zero_point(build, run, x, bits):
    """Shifted tensors are unsigned, their zero point is the shift, their values are the grid's."""
    model = build("(float[1,2,4,4] x) => (float[1,2,4,4] y) { y = Identity(x) }")
    grid = Grid(1, bits, signed=False, shift=3)
    QuantizeActivations({"x": grid})(model)
    quantizer, dequantizer = list(model.graph)[:2]
    assert quantizer.inputs[2] is dequantizer.inputs[2]
    assert int(quantizer.inputs[2].const_value.numpy()) == 3
    assert dequantized_scale(dequantizer.outputs[0]) == grid.scale
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    got = run(model, x=x)["y"]
    np.testing.assert_array_equal(got, grid.nearest(x))
    assert got.min() == -3 * grid.scale


def test_equal_constants_are_written_once(build):
    """Tensors on one grid share scale and zero point."""
    model = build(NET)
    QuantizeActivations(dict.fromkeys("xabcy", Grid(1, 8, signed=True)))(model)
    assert len(model.graph.initializers) == 2


def test_an_unknown_tensor_raises(build):
    """A name that the graph lacks is an error that says which."""
    with pytest.raises(ValueError, match="nowhere"):
        QuantizeActivations({"nowhere": GRIDS["a"]})(build(NET))


def test_nothing_to_do(build, operators):
    """Without grids the graph stays as it is."""
    model = build(NET)
    assert not QuantizeActivations({})(model).modified
    assert operators(model) == ["Tanh", "Relu", "Neg", "Add"]


@pytest.mark.parametrize(("op_type", "function"), [("Add", np.add), ("Mul", np.multiply)])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_constant_operands_are_quantized(build, run, x, rng, op_type, function, swapped, positive):
    """The constant of an Add or Mul gets 8 bits of its sign and is half a step off at most."""
    k = rng.uniform(0.1 if positive else -3, 3, (2, 4, 4)).astype(np.float32)
    operands = "k, x" if swapped else "x, k"
    model = build(f"(float[1,2,4,4] x) => (float[1,2,4,4] y) {{ y = {op_type}({operands}) }}", k=k)
    QuantizeActivations({"x": GRIDS["x"]})(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    dequantizer = model.graph[-1].inputs[0 if swapped else 1].producer()
    assert dequantizer.inputs[0].dtype == (ir.DataType.UINT8 if positive else ir.DataType.INT8)
    scale = dequantized_scale(dequantizer.outputs[0])
    stored = dequantizer.inputs[0].const_value.numpy().astype(np.float32) * np.float32(scale)
    assert np.abs(stored - k).max() <= scale / 2 <= 4 / 255
    expected = function(on(GRIDS["x"], x), stored)
    np.testing.assert_array_equal(run(model, x=x)["y"], expected)


@pytest.mark.parametrize(
    ("constants", "kind"), [("signed grid", ir.DataType.INT8), ("float", ir.DataType.FLOAT)]
)
def test_what_becomes_of_constants(build, constants, kind):
    """On request, positive constants have a signed grid, too, or stay float."""
    model = build("(float[4] x) => (float[4] y) { y = Mul(x, k) }", k=np.ones(4, np.float32))
    QuantizeActivations({"x": Grid(1, 8, True)}, constants)(model)
    value = model.graph[-1].inputs[1]
    stored = value if value.producer() is None else value.producer().inputs[0]
    assert stored.dtype == kind


def test_a_constant_without_dimensions_is_quantized(build, run, x):
    """Such as the 1/6 of a spelled-out hard sigmoid: it stays a number without dimensions."""
    model = build("(float[2,3] x) => (float[2,3] y) { y = Mul(x, sixth) }", sixth=1 / 6)
    QuantizeActivations({"x": Grid(1, 8, True)})(model)
    source = model.graph.outputs[0].producer().inputs[1].producer()
    assert source.op_type == "DequantizeLinear"
    assert source.inputs[0].const_value.shape == ()
    pixels = np.full((2, 3), 0.5, np.float32)
    assert abs(run(model, x=pixels)["y"] - 0.5 / 6).max() < 2**-10


def test_constants_of_float_operators_stay(build, operators):
    """Nothing else is quantized: an operand of a float tensor, integers, other operators."""
    model = build(
        "(float[4] x) => (float[4] y) { a = Neg(x) b = Add(a, k) c = Sub(b, k) y = Div(c, k) }",
        k=np.ones(4, np.float32),
    )
    QuantizeActivations({"b": GRIDS["a"], "c": GRIDS["a"]})(model)
    assert operators(model).count("DequantizeLinear") == 2


def test_best_grid_has_the_least_error(rng):
    """No 8-bit power-of-two grid is closer to the constant, by brute force."""
    for values in (rng.normal(size=50), rng.exponential(size=50), np.float64([4.0]), [-1.0, 0.0]):
        array = np.asarray(values, np.float32)
        chosen = best_grid(array)
        assert chosen.signed is bool((array < 0).any())

        def squared(exponent, array=array, signed=chosen.signed):
            return np.sum((on(Grid(exponent, 8, signed), array.astype(np.float64)) - array) ** 2)

        best = min(squared(exponent) for exponent in range(-10, 10))
        assert squared(chosen.exponent) == pytest.approx(best, rel=1e-12)


def test_dequantized_scale_is_per_tensor(build):
    """Only a DequantizeLinear with one constant scale counts."""
    model = build(
        """(float[2] x, float s) => (float[2] y)
        <int8[2] i = {1, 2}, float[2] two = {1.0, 2.0}, float one = {0.5}> {
            a = DequantizeLinear<axis=0>(i, two)
            b = DequantizeLinear(i, s)
            c = DequantizeLinear(i, one)
            d = Add(a, b)
            y = Add(c, d)
        }"""
    )
    found = [dequantized_scale(node.outputs[0]) for node in model.graph]
    assert found == [None, None, 0.5, None, None]
    assert dequantized_scale(model.graph.inputs[0]) is None
    assert dequantized_scale(None) is None


def test_coordinates_are_rounded_for_layers_alone(build):
    """GridSample reads the place itself, the layer that embeds it the rounded one."""
    model = build(
        """(float[1,1,2,4] x, float[1,1,6,6] f) => (float[1,1,1,2] s, float[1,1,2,2] e) {
            r = MatMul(x, w)  p = Sigmoid(r)
            g = GridSample(f, p)  s = MatMul(g, v)
            e = MatMul(p, v)
        }""",
        opset=20,
        w=np.ones((4, 2), np.float32),
        v=np.ones((2, 2), np.float32),
    )
    QuantizeActivations({"p": Grid(0, 8, signed=False)})(model)
    read = {node.name: [value.name for value in node.inputs] for node in model.graph}
    assert read["make_g"] == ["f", "p"]
    assert read["make_e"] == ["p_dq", "v"]
