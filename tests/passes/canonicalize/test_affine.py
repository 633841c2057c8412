"""Affine maps are read from nodes, and layers decline them where a fold would be wrong."""

import numpy as np
import pytest

from passes.canonicalize.affine import (
    fold_backwards,
    fold_forwards,
    from_arithmetic,
    from_batchnorm,
)
from passes.graph import Namer

SHAPE = "float[1,3,4,3]"


def arithmetic(build, expression, **constants):
    """Read the map of ``y = expression`` for an input ``x`` of three channels and width 3."""
    model = build(f"({SHAPE} x) => (float[n,c,h,w] y) {{ y = {expression} }}", **constants)
    return from_arithmetic(model.graph[0])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1), (3, 1, 1), (1, 3, 1, 1)])
@pytest.mark.parametrize(
    ("expression", "factor", "shift"),
    [
        ("Add(x, c)", lambda c: 1 + 0 * c, lambda c: c),
        ("Add(c, x)", lambda c: 1 + 0 * c, lambda c: c),
        ("Sub(x, c)", lambda c: 1 + 0 * c, lambda c: -c),
        ("Sub(c, x)", lambda c: -1 + 0 * c, lambda c: c),
        ("Mul(x, c)", lambda c: c, lambda c: 0 * c),
        ("Mul(c, x)", lambda c: c, lambda c: 0 * c),
        ("Div(x, c)", lambda c: 1 / c, lambda c: 0 * c),
    ],
)
def test_arithmetic_is_read_per_channel(build, rng, expression, factor, shift, shape):
    """Each operator, operand order and shape of a constant gives its factor and shift."""
    c = rng.uniform(0.5, 2, shape).astype(np.float32)
    affine = arithmetic(build, expression, c=c)
    wide = np.broadcast_to(c.reshape(-1), (3,)).astype(np.float64)
    np.testing.assert_allclose(affine.factor, factor(wide), rtol=1e-12)
    np.testing.assert_allclose(affine.shift, shift(wide), rtol=1e-12)
    assert affine.source.name == "x"


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("Div(c, x)", (1,)),
        ("Add(x, c)", (3,)),
        ("Add(x, c)", (4, 3)),
        ("Mul(x, c)", (1, 1, 4, 1)),
        ("Mul(x, c)", (1, 3, 4, 3)),
        ("Add(x, c)", (2, 1, 1, 1)),
        ("Add(x, c)", (1, 1, 1, 1, 1)),
        ("Add(x, x)", (1,)),
        ("Pow(x, c)", (1,)),
    ],
)
def test_arithmetic_declines(build, expression, shape):
    """1/x, constants along the pixels, the batch or a new axis, and other operators are no maps."""
    assert arithmetic(build, expression, c=np.ones(shape, np.float32)) is None


def test_division_by_zero_declines(build):
    """A constant that holds a zero cannot become a factor."""
    assert arithmetic(build, "Div(x, c)", c=np.float32([1, 0, 2]).reshape(3, 1, 1)) is None


def test_a_constant_that_adds_channels_declines(build):
    """One channel plus three constants is a broadcast, not a map of the channel."""
    model = build(
        "(float[1,1,4,4] x) => (float[n,c,h,w] y) { y = Add(x, c) }",
        c=np.ones((3, 1, 1), np.float32),
    )
    assert from_arithmetic(model.graph[0]) is None


BATCHNORM = """(float[1,2,4,4] x {extra}) => (float[n,c,h,w] y) {{
    y {more} = BatchNormalization<epsilon=0.5 {mode}>(x, gamma, beta, mean, variance)
}}"""
PARAMETERS = {
    "gamma": np.float32([1.5, -2]),
    "beta": np.float32([0.25, 3]),
    "mean": np.float32([1, -1]),
    "variance": np.float32([3.5, 0.0]),
}


def test_batchnorm_is_read_with_its_epsilon(build):
    """A = γ/√(σ²+ε) and b = β − a·μ, with the ε of the node."""
    model = build(BATCHNORM.format(extra="", more="", mode=""), **PARAMETERS)
    affine = from_batchnorm(model.graph[0])
    factor = np.array([1.5 / 2, -2 / np.sqrt(0.5)])
    np.testing.assert_allclose(affine.factor, factor, rtol=1e-7)
    np.testing.assert_allclose(affine.shift, [0.25 - factor[0], 3 + factor[1]], rtol=1e-7)


def test_batchnorm_in_training_mode_declines(build):
    """Statistics of the batch are no constants."""
    text = BATCHNORM.format(extra="", more=", m, v", mode=", training_mode=1")
    assert from_batchnorm(build(text, **PARAMETERS).graph[0]) is None


@pytest.mark.parametrize("computed", list(PARAMETERS))
def test_batchnorm_with_a_computed_parameter_declines(build, computed):
    """A parameter that is a graph input is not known."""
    text = BATCHNORM.format(extra=f", float[2] {computed}", more="", mode="")
    constants = {name: array for name, array in PARAMETERS.items() if name != computed}
    assert from_batchnorm(build(text, **constants).graph[0]) is None


WEIGHTS = {
    "w": np.ones((3, 3, 1, 1), np.float32),
    "c": np.float32([1, 2, 3]).reshape(3, 1, 1),
}


@pytest.mark.parametrize(
    "graph",
    [
        "(float[1,3,4,4] x) => (float[n,c,h,w] y) { y = Mul(x, c) }",
        "(float[1,3,4,4] x) => (float[n,c,h,w] y) { a = Relu(x) y = Mul(a, c) }",
        """(float[1,3,4,4] x) => (float[n,c,h,w] a, float[n,c,h,w] y) {
            a = Conv(x, w) y = Mul(a, c) }""",
        """(float[1,3,4,4] x) => (float[n,c,h,w] z, float[n,c,h,w] y) {
            a = Conv(x, w) z = Relu(a) y = Mul(a, c) }""",
        """(float[1,3,4,4] x, float[3,3,1,1] v) => (float[n,c,h,w] y) {
            a = Conv(x, v) y = Mul(a, c) }""",
        """(float[1,3,4,4] x, float[3] b) => (float[n,c,h,w] y) {
            a = Conv(x, w, b) y = Mul(a, c) }""",
    ],
    ids=["no layer", "no layer type", "graph output", "two readers", "weight", "bias"],
)
def test_folding_forwards_declines(build, graph):
    """No layer, another reader, a graph output and computed parameters leave the graph alone."""
    constants = {name: array for name, array in WEIGHTS.items() if f"{name})" in graph}
    if "w, b" in graph:
        constants["w"] = WEIGHTS["w"]
    model = build(graph, **constants)
    before = [node.op_type for node in model.graph]
    affine = from_arithmetic(model.graph[-1])
    assert affine is not None
    assert not fold_forwards(affine, Namer(model.graph))
    assert [node.op_type for node in model.graph] == before


@pytest.mark.parametrize(
    ("attributes", "folds"),
    [("", True), ("<alpha=0.5>", False), ("<beta=2.0>", False), ("<transA=1>", True)],
)
def test_only_a_plain_gemm_folds(build, attributes, folds):
    """A Gemm with α or β other than 1 is left alone."""
    model = build(
        f"(float[3,3] x) => (float[n,c] y) {{ a = Gemm{attributes}(x, w, b) y = Mul(a, c) }}",
        w=np.ones((3, 3), np.float32),
        b=np.ones(3, np.float32),
        c=np.float32([1, 2, 3]),
    )
    affine = from_arithmetic(model.graph[-1])
    assert fold_forwards(affine, Namer(model.graph)) is folds


@pytest.mark.parametrize(
    ("graph", "folds"),
    [
        ("y = Conv(a, w)", True),
        ("y = Conv<pads=[0,0,0,0]>(a, w)", True),
        ('y = Conv<auto_pad="VALID">(a, w)', True),
        ("y = Conv<pads=[0,1,0,1]>(a, w)", False),
        ('y = Conv<auto_pad="SAME_UPPER">(a, w)', False),
        ("y = ConvTranspose(a, w)", False),
        ("z = Conv(a, w) r = Relu(a) y = Add(z, r)", False),
        ("z = Conv(a, w) r = Conv(a, w) y = Add(z, r)", True),
        ("y = Conv(x, w)", False),
    ],
)
def test_folding_backwards_wants_convs_that_do_not_pad(build, graph, folds):
    """Every reader must be a Conv whose borders see no zeros, and there must be one."""
    model = build(
        f"(float[1,3,4,4] x) => (float[n,c,h,w] y) {{ a = Add(x, c) {graph} }}", **WEIGHTS
    )
    affine = from_arithmetic(model.graph[0])
    assert fold_backwards(model.graph, affine, Namer(model.graph)) is folds


def test_a_pure_factor_folds_through_padding(build, run, error, rng):
    """Zeros stay zeros under a factor, so that a Conv that pads takes it (within 1e-6)."""
    model = build(
        "(float[1,3,4,4] x) => (float[n,c,h,w] y) { a = Mul(x, c) y = Conv<pads=[1,1,1,1]>(a, w) }",
        **WEIGHTS,
    )
    x = rng.normal(size=(1, 3, 4, 4)).astype(np.float32)
    before = run(model, x=x)
    assert fold_backwards(model.graph, from_arithmetic(model.graph[0]), Namer(model.graph))
    assert len(model.graph) == 1
    assert error(before, run(model, x=x)) < 1e-6
