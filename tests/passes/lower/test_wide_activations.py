"""Tensors of 4 bits are stored in 8 bits without changing a value."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import QuantizeActivations, WideActivations
from passes.arithmetic import Grid


@pytest.mark.parametrize("bits", [8, 4])
def test_values_stay(mixed, run, rng, bits):
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
