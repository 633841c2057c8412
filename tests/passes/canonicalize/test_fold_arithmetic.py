"""Constant additions and factors fold into the layer before them."""

import numpy as np
import pytest

from passes import FoldArithmetic

TOLERANCE = 1e-5  # relative to the largest output; a wrong operand order gives 1e-1

LAYERS = {
    "conv": ("Conv<pads=[1,1,1,1]>(x, w, b)", (3, 4, 3, 3)),
    "conv without bias": ("Conv<group=1>(x, w)", (3, 4, 1, 1)),
    "transposed": ("ConvTranspose<strides=[2,2]>(x, w, b)", (4, 3, 2, 2)),
}
SHAPES = [(), (1,), (3, 1, 1), (1, 3, 1, 1)]
EXPRESSIONS = [
    "Add(a, c)",
    "Add(c, a)",
    "Sub(a, c)",
    "Sub(c, a)",
    "Mul(a, c)",
    "Mul(c, a)",
    "Div(a, c)",
]


def model_of(build, rng, layer, expression, shape):
    """A layer with three output channels, then arithmetic with a constant of that shape."""
    call, weight = LAYERS[layer]
    arrays = {"w": rng.normal(size=weight).astype(np.float32)}
    if ", b)" in call:
        arrays["b"] = rng.normal(size=3).astype(np.float32)
    c = rng.uniform(0.5, 2, shape).astype(np.float32)
    return build(
        f"(float[1,4,5,5] x) => (float[n,c,h,w] y) {{ a = {call} y = {expression} }}",
        c=c,
        **arrays,
    )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_folds(build, run, error, operators, rng, layer, expression, shape):
    """Every operator, operand order and per-channel shape folds and keeps the function."""
    model = model_of(build, rng, layer, expression, shape)
    x = rng.normal(size=(1, 4, 5, 5)).astype(np.float32)
    before = run(model, x=x)
    assert FoldArithmetic()(model).modified
    assert len(operators(model)) == 1
    assert [output.name for output in model.graph.outputs] == ["y"]
    assert error(before, run(model, x=x)) < TOLERANCE


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("Div(c, a)", (3, 1, 1)),
        ("Add(a, c)", (5, 5)),
        ("Mul(a, c)", (1, 3, 5, 5)),
        ("Add(c, a)", (1, 1, 1, 5)),
    ],
)
def test_declines(build, operators, rng, expression, shape):
    """A reciprocal and constants per pixel are left alone."""
    model = model_of(build, rng, "conv", expression, shape)
    assert not FoldArithmetic()(model).modified
    assert len(operators(model)) == 2


def test_a_chain_folds_into_one_layer(build, run, error, operators, rng):
    """Mul, Add and Div one after another end up in one Gemm."""
    model = build(
        """(float[2,4] x) => (float[n,c] y) {
            a = Gemm<transB=1>(x, w)
            p = Mul(a, c)
            q = Add(d, p)
            y = Div(q, two)
        }""",
        w=rng.normal(size=(3, 4)).astype(np.float32),
        c=rng.normal(size=3).astype(np.float32),
        d=rng.normal(size=(1, 3)).astype(np.float32),
        two=2.0,
    )
    x = rng.normal(size=(2, 4)).astype(np.float32)
    before = run(model, x=x)
    FoldArithmetic()(model)
    assert operators(model) == ["Gemm"]
    assert error(before, run(model, x=x)) < TOLERANCE


def test_a_residual_addition_is_no_constant(build, operators, rng):
    """The sum of two tensors stays."""
    model = build(
        "(float[1,3,5,5] x) => (float[n,c,h,w] y) { a = Conv(x, w) y = Add(a, x) }",
        w=rng.normal(size=(3, 3, 1, 1)).astype(np.float32),
    )
    assert not FoldArithmetic()(model).modified
    assert operators(model) == ["Conv", "Add"]


def test_a_factor_behind_a_shared_weight_stays_in_the_post_processing(build, run, error, rng):
    """FCOS scales the boxes of each level by a number; shifts fold, and so do single readers."""
    model = build(
        """(float[1,4,5,5] x) => (float[n,c,h,w] y, float[n,c,h,w] z, float[n,c,h,w] u) {
            a = Conv(x, w, b) y = Mul(a, s)
            d = Conv(x, w, b) z = Add(d, s)
            e = Conv(x, v, b) u = Mul(e, s) }""",
        w=rng.normal(size=(3, 4, 1, 1)).astype(np.float32),
        v=rng.normal(size=(3, 4, 1, 1)).astype(np.float32),
        b=rng.normal(size=3).astype(np.float32),
        s=2.5,
    )
    x = rng.normal(size=(1, 4, 5, 5)).astype(np.float32)
    before = run(model, x=x)
    assert FoldArithmetic()(model).modified
    assert [n.outputs[0].name for n in model.graph] == ["a", "y", "z", "u"]
    assert error(before, run(model, x=x)) < TOLERANCE
