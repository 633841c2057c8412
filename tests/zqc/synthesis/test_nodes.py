"""What the graphs of the synthesis are written with."""

import numpy as np
import onnx_ir as ir
from onnx_ir.tape import Tape

from zqc.synthesis.nodes import channels, number, positions, sizes, typed


def test_a_constant_is_registered_once():
    """Asking for the same name twice gives the same value."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 17}, name="constants")
    tape = Tape(graph)
    value = number(tape, "two", [2, 3], np.int64)
    assert number(tape, "two", [2, 3], np.int64) is value
    assert len(graph.initializers) == 1
    assert value.const_value is not None
    np.testing.assert_array_equal(value.const_value.numpy(), np.array([2, 3], np.int64))


def test_shapes_are_read_as_they_were_recorded():
    """Channels and positions of a picture follow from the shape, for values of any rank.

    The last one has eight windows of each picture along axis 0.
    """
    for shape, count in (((2, 3, 4, 5), 20), ((2, 3, 7), 7), ((2, 3), 1), ((16, 3, 5, 1), 40)):
        value = typed(ir.Value(name="x"), shape, ir.DataType.INT64)
        assert value.dtype == ir.DataType.INT64
        assert (sizes(value), channels(value), positions(value, 2)) == (shape, 3, count)
