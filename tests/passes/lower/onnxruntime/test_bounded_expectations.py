"""Expectations over bins of small logits need no Softmax."""

import numpy as np
import pytest

from passes import BinsLast, BoundedExpectations

HEADS = """
    p_f = DequantizeLinear(p, step, zero) q_f = DequantizeLinear(q, step, zero)
    x = Concat<axis=2>(p_f, q_f) r = Reshape(x, sizes)
"""
DFL = "t = Transpose<perm=[0,2,1,3]>(r) s = Softmax<axis=1>(t) y = Conv(s, w)"
SIDEWAYS = "t = Transpose<perm=[0,3,1,2]>(r) s = Softmax<axis=1>(t) y = Conv(s, w)"


def model_of(build, body=DFL, step=0.25, zero=128, sizes=(1, 4, 16, -1)):
    """Two levels of a head with 4 times 16 bins, whose last form ``BinsLast`` has written."""
    model = build(
        f"(uint8[1,64,6] p, uint8[1,64,3] q) => (float[a,b,c,d] y) {{ {HEADS} {body} }}",
        w=np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1),
        step=np.float32(step),
        zero=np.uint8(zero),
        sizes=np.array(sizes),
    )
    for name in ("r", "t"):
        value = next(n.outputs[0] for n in model.graph if n.outputs[0].name == name)
        assert value.shape is not None
    BinsLast()(model)
    return model


def feeds(rng):
    """Integers of the whole grid."""
    return {n: rng.integers(0, 256, (1, 64, k), dtype=np.uint8) for n, k in (("p", 6), ("q", 3))}


@pytest.mark.parametrize("zero", [128, 0])
def test_the_expectation_stays(build, run, operators, rng, zero):
    """Against the sum in closed form with the largest logit taken out, over the whole grid."""
    model = model_of(build, zero=zero)
    assert BoundedExpectations()(model).modified
    assert "Softmax" not in operators(model)
    given = feeds(rng)
    x = np.concatenate([given["p"], given["q"]], axis=2).astype(np.float64)
    logits = (0.25 * (x - zero)).reshape(1, 4, 16, 9)
    shares = np.exp(logits - logits.max(axis=2, keepdims=True))
    expected = np.einsum("nkia,i->nka", shares, np.arange(16)) / shares.sum(axis=2)
    np.testing.assert_allclose(run(model, **given)["y"][:, 0], expected, rtol=1e-5)
    assert not BoundedExpectations()(model).modified


def test_every_logit_may_be_the_least(build, run):
    """Where all are at one end of the grid, every bin has the same share."""
    model = model_of(build)
    BoundedExpectations()(model)
    for level in (0, 255):
        given = {n: np.full((1, 64, k), level, np.uint8) for n, k in (("p", 6), ("q", 3))}
        np.testing.assert_allclose(run(model, **given)["y"], 7.5, rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 0.5625},
        {"step": 0.5, "zero": 0},
        {"body": SIDEWAYS, "sizes": (1, -1, 4, 16)},
        {"body": DFL.replace("(r)", "(e)").join(("e = Elu(r) ", ""))},
        {"body": f"{DFL} z = Abs(s)"},
    ],
)
def test_anything_else_is_declined(build, change):
    """Large logits, bins that are last already, logits without bounds, another reader."""
    assert not BoundedExpectations()(model_of(build, **change)).modified
