"""DepthToSpace of 8-bit integers."""

import numpy as np
import pytest

from passes import IntegerDepthToSpace
from tests.passes.helpers import build_model, operator_types, run_model
from zqc.runtime import session


def between_pairs(*, mode="DCR", after="s, z", batch="N", size=5, extra="", outputs=""):
    """Return a net of a DepthToSpace between two pairs."""
    return build_model(
        f"""(float[{batch},12,{size},4] x) => (float[n,3,h,w] y{outputs}) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            m = DepthToSpace<blocksize=2, mode="{mode}">(d)
            p = QuantizeLinear(m, {after})
            y = DequantizeLinear(p, {after})
            {extra}
        }}""",
        s=0.25,
        z=np.uint8(128),
        other=np.uint8(127),
    )


def test_it_is_the_same(rng):
    """Every value, for a batch of any size, goes where DepthToSpace puts it; nothing is float."""
    model = between_pairs()
    for count in (1, 3):
        x = rng.normal(0, 8, (count, 12, 5, 4)).astype(np.float32)
        expected = run_model(between_pairs(), x=x)["y"]
        IntegerDepthToSpace()(model)
        np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    moves = ["Transpose", "Reshape", "Transpose", "Reshape", "Transpose"]
    assert operator_types(model) == ["QuantizeLinear", *moves, "DequantizeLinear"] or (
        operator_types(model) == ["QuantizeLinear", "DequantizeLinear", *moves, "DequantizeLinear"]
    )


@pytest.mark.parametrize(
    "declined",
    [
        {"mode": "CRD"},
        {"after": "s, other"},
        {"size": "rows"},
        {"extra": "other_out = Relu(m)", "outputs": ", float[n,3,h,w] other_out"},
    ],
)
def test_declined(declined):
    """Another order, another grid, an unknown size or another reader: it stays as it is."""
    model = between_pairs(**declined)
    assert not IntegerDepthToSpace()(model).modified
    assert "DepthToSpace" in operator_types(model)


def test_nothing_is_float(rng):
    """Both layers beside it are fused, and what stands between them moves integers."""
    integers = {
        "w": rng.integers(-127, 127, (12, 3, 1, 1)).astype(np.int8),
        "u": rng.integers(-127, 127, (4, 3, 3, 3)).astype(np.int8),
    }
    model = build_model(
        """(uint8[1,3,8,8] i) => (float[1,4,h,w_out] y) {
            x = DequantizeLinear(i, s, z)
            w_d = DequantizeLinear(w, s)
            u_d = DequantizeLinear(u, s)
            a = Conv(x, w_d)
            q = QuantizeLinear(a, s, z)
            d = DequantizeLinear(q, s, z)
            m = DepthToSpace<blocksize=2>(d)
            p = QuantizeLinear(m, s, z)
            e = DequantizeLinear(p, s, z)
            c = Conv(e, u_d)
            t = QuantizeLinear(c, s, z)
            y = DequantizeLinear(t, s, z)
        }""",
        s=0.25,
        z=np.uint8(128),
        **integers,
    )
    IntegerDepthToSpace()(model)
    kinds = [node.op_type for node in session.executed_graph(model).graph]
    assert kinds.count("QLinearConv") == 2
    assert "QuantizeLinear" not in kinds
