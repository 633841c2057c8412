"""The expectation over bins moves to the last axis and stays the same function."""

import numpy as np
import pytest

from passes import BinsLast

TOLERANCE = 1e-5  # relative to the largest output; bins in a wrong order give 1e-1

DFL = "t = Transpose<perm=[0,2,1,3]>(x) s = Softmax<axis=1>(t) y = Conv(s, w)"
HEADS = {
    "behind a Transpose": (DFL, "1,4,16,9"),
    "with a bias": ("s = Softmax<axis=1>(x) y = Conv(s, w, b)", "1,16,4,9"),
    "on three axes": ("s = Softmax<axis=1>(x) y = Conv(s, v)", "1,16,9"),
    "Transpose with two readers": (f"{DFL} u = Abs(t)", "1,4,16,9"),
}


def model_of(build, body, shape, rank=4):
    """A head of 16 bins."""
    weights = {
        "w": np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1),
        "v": np.arange(16, dtype=np.float32).reshape(1, 16, 1),
        "b": np.array([0.5], np.float32),
    }
    used = {n: a for n, a in weights.items() if f", {n})" in body or f", {n}," in body}
    outputs = "float[n,c,h,w] y" if rank == 4 else "float[n,c,h] y"
    if "u = " in body:
        outputs += ", float[n,c,h,w] u"
    return build(f"(float[{shape}] x) => ({outputs}) {{ {body} }}", **used)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_stay(build, run, error, operators, rng, head):
    """Softmax and products are on the last axis, and the Conv is gone."""
    body, shape = HEADS[head]
    sizes = [int(n) for n in shape.split(",")]
    model = model_of(build, body, shape, len(sizes))
    x = rng.normal(0, 3, sizes).astype(np.float32)
    before = run(model, x=x)
    assert BinsLast()(model).modified
    assert "Conv" not in operators(model)
    (softmax,) = (n for n in model.graph if n.op_type == "Softmax")
    assert softmax.attributes["axis"].as_int() == -1
    assert error(before, run(model, x=x)) < TOLERANCE
    assert not BinsLast()(model).modified


def test_the_expectation_is_that_of_the_bins(build, run, rng):
    """Against the sum in closed form: Σ i·exp(x_i) / Σ exp(x_i)."""
    model = model_of(build, DFL, "1,4,16,9")
    BinsLast()(model)
    x = rng.normal(0, 3, (1, 4, 16, 9)).astype(np.float32)
    exp = np.exp(x.astype(np.float64))
    expected = np.einsum("nkia,i->nka", exp, np.arange(16)) / exp.sum(axis=2)
    np.testing.assert_allclose(run(model, x=x)["y"][:, 0], expected, rtol=1e-5)


def test_a_transpose_before_it_is_merged(build, operators):
    """Two in a row are one, and one that undoes the other is none."""
    model = model_of(build, DFL, "1,4,16,9")
    BinsLast()(model)
    assert operators(model) == ["Transpose", "Softmax", "Mul", "ReduceSum", "Transpose"]
    merged = "t = Transpose<perm=[0,3,1,2]>(x) s = Softmax<axis=1>(t) y = Conv(s, w)"
    model = model_of(build, merged, "1,4,9,16")
    BinsLast()(model)
    assert operators(model) == ["Softmax", "Mul", "ReduceSum", "Transpose"]


@pytest.mark.parametrize(
    "body",
    [
        "s = Softmax<axis=2>(x) y = Conv(s, w)",
        "s = Softmax<axis=1>(x) r = Abs(s) y = Conv(r, w)",
        "s = Softmax<axis=1>(x) y = Conv<pads=[1,1,1,1]>(s, w)",
        "s = Softmax<axis=1>(x) y = Conv<strides=[2,2]>(s, w)",
        "s = Softmax<axis=1>(x) y = Conv(s, w) u = Abs(s)",
    ],
)
def test_anything_else_is_declined(build, body):
    """Another axis, something in between, padding, strides, another reader."""
    assert not BinsLast()(model_of(build, body, "1,16,4,9")).modified
