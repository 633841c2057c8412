"""Layers with equal weights read one initializer."""

import numpy as np
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import SharedWeights

LEVELS = """(float[1,4,8,8] p3, float[1,4,4,4] p4, float[1,4] v)
    => (float[n,c,h,w] y3, float[n,c,h2,w2] y4, float[n,k] z) {
    y3 = Conv(p3, w, b)
    y4 = Conv<pads=[1,1,1,1], strides=[2,2]>(p4, copy, b)
    z = Gemm(v, matrix)
}"""


def model_of(build, rng, **changed):
    """Two levels with one copy each of the weights of a head, and another layer."""
    w = rng.normal(size=(2, 4, 3, 3)).astype(np.float32)
    arrays = {
        "w": w,
        "copy": w.copy(),
        "b": rng.normal(size=2).astype(np.float32),
        "matrix": rng.normal(size=(4, 2)).astype(np.float32),
    }
    return build(LEVELS, **(arrays | changed))


def feeds(rng):
    """What the levels read."""
    shapes = {"p3": (1, 4, 8, 8), "p4": (1, 4, 4, 4), "v": (1, 4)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_copies_become_one(build, run, rng):
    """Both levels read the first; no output changes by a bit, and the copy is dead."""
    model, x = model_of(build, rng), feeds(rng)
    before = run(model, **x)
    assert SharedWeights()(model).modified
    RemoveUnusedNodesPass()(model)
    assert sorted(model.graph.initializers) == ["b", "matrix", "w"]
    for name, array in run(model, **x).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_second_run_changes_nothing(build, rng):
    """The pass is idempotent."""
    model = model_of(build, rng)
    SharedWeights()(model)
    assert not SharedWeights()(model).modified


def test_weights_that_differ_stay(build, rng):
    """One bit is enough, and so is another shape with the same bytes."""
    w = rng.normal(size=(2, 4, 3, 3)).astype(np.float32)
    near = w.copy()
    near[0, 0, 0, 0] = np.nextafter(near[0, 0, 0, 0], np.float32(9))
    assert not SharedWeights()(model_of(build, rng, w=w, copy=near)).modified
    same_bytes = {"w": np.ones((2, 4, 1, 1), np.float32), "matrix": np.ones((4, 2), np.float32)}
    assert not SharedWeights()(model_of(build, rng, **same_bytes)).modified


def test_one_initializer_is_left_as_it_is(build, rng):
    """A weight that is shared already is nothing to do."""
    model = model_of(build, rng)
    for node in model.graph:
        if node.op_type == "Conv":
            node.replace_input_with(1, model.graph.initializers["w"])
    assert not SharedWeights()(model).modified
