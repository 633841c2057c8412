"""Graphs from ONNX text, ONNX Runtime without fusions, and one net with every operator."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnx_ir.passes.common import ShapeInferencePass

from passes import QuantizeActivations, QuantizeWeights
from passes.analysis.quantization_points import quantization_points
from passes.arithmetic import Grid, exponent_of
from passes.graph import with_outputs
from zqc.runtime import session


def build_model(graph, *, opset=21, **arrays):
    """Read the text of a graph; each node without a name is called after its first output.

    ``arrays`` become initializers; Python floats become float32 scalars.
    """
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> net {graph}'
    proto = onnx.parser.parse_model(text)
    for node in proto.graph.node:
        node.name = node.name or f"make_{node.output[0]}"
    for name, array in arrays.items():
        typed = np.float32(array) if isinstance(array, float) else np.asarray(array)
        proto.graph.initializer.append(numpy_helper.from_array(typed, name))
    onnx.checker.check_model(proto)
    model = ir.from_proto(proto)
    ShapeInferencePass()(model)
    return model


def run_model(model, **feeds):
    """Run every node as it is written, on one thread, and return all outputs by name."""
    return session.load(model, threads=1, optimize=False)(feeds)


def operator_types(model):
    """Operator types in graph order."""
    return [node.op_type for node in model.graph]


def relative_error(reference, actual):
    """Return max |difference| / max |reference|, over the worst output; shapes must agree."""
    assert list(reference) == list(actual)
    worst = 0.0
    for name, expected in reference.items():
        assert expected.shape == actual[name].shape
        assert np.isfinite(expected).all()
        difference = np.abs(expected.astype(np.float64) - actual[name]).max()
        worst = max(worst, float(difference / np.abs(expected).max()))
    return worst


MIXED = """(float[1,3,16,16] x) => (float[1,6,16,16] y, float[1,8,8,8] side) {
    a0 = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w0, b0)
    a1 = Relu(a0)
    b1 = Conv<pads=[1,1,1,1]>(a1, w1, b1_bias)
    c1 = Clip(b1, zero, six)
    d1 = Conv<pads=[1,1,1,1], group=8>(c1, w2, b2)
    d2 = Sigmoid(d1)
    d3 = Mul(d1, d2)
    e1 = Conv(d3, w3)
    side = LeakyRelu<alpha=0.1>(e1)
    f1 = Add(side, a1)
    f2 = Mul(f1, gains)
    g1 = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(f2)
    h1 = Concat<axis=1>(g1, d3)
    i1 = Conv(h1, w4, b4)
    i2 = Clip(i1, zero, six)
    j1 = Resize<mode="nearest", coordinate_transformation_mode="asymmetric",
                nearest_mode="floor">(i2, , sizes)
    k1 = Conv<pads=[1,1,1,1]>(j1, w5, b5)
    y = Conv(k1, w6, b6)
}"""
"""Every kind of quantized operator once; the thresholds of the two ReLU6 are 4 and 8."""


def mixed_model(bits, act_bits):
    """Return the canonical quantized net for that many bits of weights and activations."""
    rng = np.random.default_rng(11)

    def normal(*shape):
        return rng.normal(0, 1.7 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    model = build_model(
        MIXED,
        w0=normal(8, 3, 3, 3),
        b0=normal(8),
        w1=6 * normal(8, 8, 3, 3),
        b1_bias=normal(8),
        w2=normal(8, 1, 3, 3),
        b2=normal(8),
        w3=normal(8, 8, 1, 1),
        gains=rng.uniform(-2, 2, (1, 8, 1, 1)).astype(np.float32),
        w4=6 * normal(24, 16, 1, 1),
        b4=normal(24),
        sizes=np.array([1, 1, 2, 2], np.float32),
        w5=normal(24, 24, 3, 3),
        b5=normal(24),
        w6=normal(6, 24, 1, 1),
        b6=normal(6),
        zero=0.0,
        six=6.0,
    )
    points = quantization_points(model.graph)
    leaders = [point.names[0] for point in points]
    computed = [name for name in leaders if name != "x"]
    values = run_model(with_outputs(model, computed), x=normal(1, 3, 16, 16) * 5)
    values["x"] = np.float32(4)
    exponents = {n: int(exponent_of(np.abs(values[n]).max())) for n in leaders}
    exponents |= {"c1": 2, "i2": 3}
    grids = {}
    for point in points:
        width = 8 if point.first_last else act_bits
        grid = Grid(exponents[point.names[0]], width, not point.nonnegative)
        grids |= dict.fromkeys(point.names, grid)
    QuantizeActivations(grids)(model)
    QuantizeWeights(bits)(model)
    return model


def check_stored(rewrite, grid, zero, clip):
    """Check that ``rewrite`` stores a tensor of that grid with a zero point and at most one Clip.

    The values stay what they were, also those far outside of the grid, which saturate.
    """
    model = build_model("(float[n] x) => (float[n] y) { y = Identity(x) }")
    QuantizeActivations({"x": grid})(model)
    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    expected = run_model(model, x=x)["y"]
    rewrite(model)
    (quantizer,) = (n for n in model.graph if n.op_type == "QuantizeLinear")
    clips = [n for n in model.graph if n.op_type == "Clip"]
    assert quantizer.inputs[2].const_value.numpy() == zero
    assert [tuple(int(v.const_value.numpy()) for v in n.inputs[1:]) for n in clips] == (
        [] if clip is None else [clip]
    )
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    assert (expected.min(), expected.max()) == grid.bounds
