"""A constant on the left of a MatMul becomes the weight of a layer."""

import numpy as np
import pytest

from passes import LeftMatrices

TOLERANCE = 1e-6

CASES = {
    "tokens of a picture": ((6, 4), "N,4,7", (2, 4, 7), ["Unsqueeze", "Conv", "Squeeze"]),
    "of unknown number": ((6, 4), "N,4,L", (2, 4, 3), ["Unsqueeze", "Conv", "Squeeze"]),
    "a matrix": ((6, 4), "4,L", (4, 5), ["Transpose", "MatMul", "Transpose"]),
    "heads": ((6, 4), "N,3,4,L", (2, 3, 4, 5), ["Transpose", "MatMul", "Transpose"]),
    "a matrix a head": ((3, 6, 4), "N,3,4,5", (2, 3, 4, 5), ["Transpose", "MatMul", "Transpose"]),
    "a matrix a token group": ((2, 6, 4), "2,4,5", (2, 4, 5), ["Transpose", "MatMul", "Transpose"]),
}


@pytest.mark.parametrize(("left", "text", "shape", "expected"), CASES.values(), ids=CASES.keys())
def test_the_constant_stands_on_the_right(
    build, operators, run, error, rng, left, text, shape, expected
):
    """The same product, with a layer in the place of the MatMul that has its name."""
    matrix = rng.normal(size=left).astype(np.float32)
    dimensions = ",".join("abcd"[: len(shape)])
    model = build(f"(float[{text}] x) => (float[{dimensions}] y) {{ y = MatMul(m, x) }}", m=matrix)
    x = rng.normal(size=shape).astype(np.float32)
    before = run(model, x=x)
    assert LeftMatrices()(model).modified
    assert operators(model) == expected
    assert model.graph[1].name == "make_y"
    assert error(before, run(model, x=x)) < TOLERANCE
    assert not LeftMatrices()(model).modified


def test_opset_12_has_matmul_alone(build, operators, run, error, rng):
    """Unsqueeze has its axes as an input since opset 13."""
    model = build(
        "(float[N,4,7] x) => (float[a,b,c] y) { y = MatMul(m, x) }",
        opset=12,
        m=rng.normal(size=(6, 4)).astype(np.float32),
    )
    x = rng.normal(size=(2, 4, 7)).astype(np.float32)
    before = run(model, x=x)
    assert LeftMatrices()(model).modified
    assert operators(model) == ["Transpose", "MatMul", "Transpose"]
    assert error(before, run(model, x=x)) < TOLERANCE


@pytest.mark.parametrize(
    "graph",
    [
        "(float[4] x) => (float[a] y) { y = MatMul(m, x) }",
        "(float[3,6] x) => (float[a,b] y) { y = MatMul(x, m) }",
        "(float[6,4] m, float[4,5] x) => (float[a,b] y) { y = MatMul(m, x) }",
    ],
    ids=["a vector", "on the right", "computed"],
)
def test_anything_else_is_left_alone(build, operators, graph):
    """Each of the declined cases."""
    arrays = {} if "] m" in graph else {"m": np.ones((6, 4), np.float32)}
    model = build(graph, **arrays)
    assert not LeftMatrices()(model).modified
    assert operators(model) == ["MatMul"]
