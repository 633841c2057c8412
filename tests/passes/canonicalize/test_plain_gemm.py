"""A Gemm without factors and without a transposed input."""

import itertools

import numpy as np
import pytest

from passes import PlainGemm

TOLERANCE = 1e-6


def gemm(build, rng, *, alpha=1.0, beta=1.0, trans_a=0, trans_b=0, bias=(5,), before=""):
    """One Gemm from 4 numbers to 5, in rows of 3."""
    shape = "4,3" if bool(trans_a) != bool(before) else "3,4"
    arrays = {"w": rng.normal(size=(5, 4) if trans_b else (4, 5)).astype(np.float32)}
    if bias is not None:
        arrays["b"] = rng.normal(size=bias).astype(np.float32)
    attributes = f"alpha={alpha}, beta={beta}, transA={trans_a}, transB={trans_b}"
    operands = f"{'t' if before else 'x'}, w{'' if bias is None else ', b'}"
    text = f"(float[{shape}] x) => (float[3,5] y) {{ {before} y = Gemm<{attributes}>({operands}) }}"
    return build(text, **arrays), tuple(map(int, shape.split(",")))


VARIANTS = list(
    itertools.product((1.0, 0.5), (1.0, 2.0, 0.0), (0, 1), (0, 1), (None, (), (1,), (5,), (1, 5)))
)


@pytest.mark.parametrize(("alpha", "beta", "trans_a", "trans_b", "bias"), VARIANTS)
def test_every_variant_becomes_plain(build, run, error, rng, alpha, beta, trans_a, trans_b, bias):
    """No factor is left, the bias is a vector, and nothing changes beyond float rounding."""
    model, shape = gemm(
        build, rng, alpha=alpha, beta=beta, trans_a=trans_a, trans_b=trans_b, bias=bias
    )
    x = rng.normal(size=shape).astype(np.float32)
    before = run(model, x=x)
    PlainGemm()(model)
    node = model.graph[-1]
    assert not any(
        node.attributes[k].as_float() != 1 for k in ("alpha", "beta") if k in node.attributes
    )
    assert "transA" not in node.attributes or not node.attributes["transA"].as_int()
    has_bias = bias is not None and beta != 0
    assert [v.shape for v in node.inputs[2:]] == ([(5,)] if has_bias else [])
    assert error(before, run(model, x=x)) < TOLERANCE
    assert not PlainGemm()(model).modified


def test_two_transposes_are_none(build, operators, run, error, rng):
    """A Transpose that the Gemm undoes goes with what undid it."""
    model, shape = gemm(build, rng, trans_a=1, before="t = Transpose<perm=[1,0]>(x)")
    x = rng.normal(size=shape).astype(np.float32)
    before = run(model, x=x)
    PlainGemm()(model)
    assert model.graph[-1].inputs[0].name == "x"
    assert error(before, run(model, x=x)) < TOLERANCE


def test_what_is_computed_keeps_its_factors(build, rng):
    """A factor has no constant to go into."""
    model = build(
        """(float[3,4] x, float[4,5] w, float[5] b) => (float[3,5] y) {
            y = Gemm<alpha=0.5, beta=2.0>(x, w, b) }"""
    )
    assert not PlainGemm()(model).modified


def test_a_bias_by_row_stays(build, run, error, rng):
    """It is no number per output; a factor goes into it all the same."""
    model, shape = gemm(build, rng, beta=2.0, bias=(3, 1))
    x = rng.normal(size=shape).astype(np.float32)
    before = run(model, x=x)
    assert PlainGemm()(model).modified
    assert model.graph[-1].inputs[2].shape == (3, 1)
    assert error(before, run(model, x=x)) < TOLERANCE
    assert not PlainGemm()(model).modified
