"""INT4 weights pass a Cast without changing a value."""

import numpy as np
import onnx
import onnx_ir as ir

from passes import Int4WeightsByCast


def test_values_stay(mixed, run, rng, operators):
    """Each INT4 weight gets a Cast to INT8, and the net computes the same bits."""
    model = mixed(4, 8)
    x = rng.normal(0, 3, (1, 3, 16, 16)).astype(np.float32)
    before = run(model, x=x)
    assert Int4WeightsByCast()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    casts = [node for node in model.graph if node.op_type == "Cast"]
    assert len(casts) == operators(model).count("Conv") - 2  # first and last layers have 8 bits
    for cast in casts:
        assert cast.inputs[0].dtype == ir.DataType.INT4
        assert cast.outputs[0].dtype == ir.DataType.INT8
        assert [use.node.op_type for use in cast.outputs[0].uses()] == ["DequantizeLinear"]
    after = run(model, x=x)
    for name, expected in before.items():
        np.testing.assert_array_equal(after[name], expected)


def test_int8_weights_are_left_alone(mixed, operators):
    """Weights of 8 bits need no Cast."""
    model = mixed(8, 8)
    assert not Int4WeightsByCast()(model).modified
    assert "Cast" not in operators(model)


def test_activations_are_left_alone(mixed):
    """A 4-bit activation is computed, so that nothing could fold its Cast."""
    model = mixed(8, 4)
    assert not Int4WeightsByCast()(model).modified
