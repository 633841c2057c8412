"""Chains of moves on integers."""

import numpy as np
import onnx_ir as ir
import pytest

from passes.graph import Namer, known_sizes
from passes.lower.onnxruntime.integer_layout import IntegerLayout
from passes.qdq import equal_pairs
from tests.passes.helpers import build_model, run_model


def test_moves_are_what_numpy_makes_of_them(rng):
    """A chain of all of them begins and ends with the channels first."""
    model = build_model("(uint8[2,6,3,4] x) => (uint8[n,c,h,w] y) { y = Identity(x) }")
    identity = model.graph[0]
    moves = IntegerLayout(model.graph, model.graph.inputs[0], "m", Namer(model.graph))
    moves.reshape(-1, 3, 4, 2, 3).swap(5, 2).repeat(2, axis=4).reshape(-1, 3, 4, 12)
    value = moves.end()
    model.graph.insert_before(identity, moves.nodes)
    identity.replace_input_with(0, value)
    x = rng.integers(0, 256, (2, 6, 3, 4)).astype(np.uint8)
    expected = x.transpose(0, 2, 3, 1).reshape(2, 3, 4, 2, 3).swapaxes(2, 3)
    expected = np.concatenate([expected] * 2, 4).reshape(2, 3, 4, 12).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)


@pytest.mark.parametrize(("after", "equal"), [("s, z", True), ("t, z", False), ("s, w", False)])
def test_equal_pairs(after, equal):
    """Pairs are equal if scale and zero point are; then the integers before them are found."""
    model = build_model(
        f"""(float[4] x) => (float[4] y) {{
            q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) m = Neg(d)
            p = QuantizeLinear(m, {after}) y = DequantizeLinear(p, {after}) }}""",
        s=0.5,
        t=0.25,
        z=np.uint8(3),
        w=np.uint8(4),
    )
    pair = equal_pairs(next(node for node in model.graph if node.op_type == "Neg"))
    assert (pair is not None) == equal
    if pair is not None:
        assert (pair[0].name, pair[1].op_type) == ("q", "QuantizeLinear")


def test_known_sizes():
    """Sizes are known if all but the batch are numbers."""
    for shape, expected in ((["n", 3, 4, 5], (3, 4, 5)), (["n", 3, "h", 5], ()), ([3, 4, 5], ())):
        assert known_sizes(ir.Value(name="x", shape=ir.Shape(shape))) == expected
    assert known_sizes(None) == ()
