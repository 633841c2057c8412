"""An open batch becomes one."""

import numpy as np
import onnx
import onnx_ir as ir

from passes import FixedBatch

NET = """(float[batch,2,8,8] x) => (float[batch,3,h,w] y, float[rows,m] z) {
    a = Conv(x, w)
    y = Relu(a)
    z = Flatten(y)
}"""


def test_every_shape_follows(build, run, rng):
    """Inputs, outputs and what is in between have the number; the values stay."""
    model = build(NET, w=rng.normal(size=(3, 2, 3, 3)).astype(np.float32))
    x = rng.normal(size=(1, 2, 8, 8)).astype(np.float32)
    expected = run(model, x=x)
    assert FixedBatch()(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    graph = model.graph
    assert list(graph.inputs[0].shape) == [1, 2, 8, 8]
    assert [list(v.shape) for v in graph.outputs] == [[1, 3, 6, 6], [1, 108]]
    assert all(isinstance(d, int) for node in graph for v in node.outputs for d in v.shape)
    for name, values in run(model, x=x).items():
        np.testing.assert_array_equal(values, expected[name])
    assert not FixedBatch()(model).modified


def test_a_fixed_batch_stays(build):
    """A model with a batch of its own keeps it, and so do other open sizes."""
    model = build("(float[4,n] x) => (float[4,n] y) { y = Relu(x) }")
    assert not FixedBatch()(model).modified
    assert model.graph.inputs[0].shape[1].value == "n"


def test_an_unnamed_batch(build):
    """A batch without a name is fixed all the same."""
    model = build("(float[?,2] x) => (float[?,2] y) { y = Relu(x) }")
    FixedBatch(size=3)(model)
    assert list(model.graph.inputs[0].shape) == list(model.graph.outputs[0].shape) == [3, 2]
