"""Tensors inside of functions that are computed in float."""

import numpy as np
import pytest

from passes.analysis.float_regions import attention_logits, float_values
from tests.passes.helpers import build_model

LAYER_NORM = """
    a = Relu(x)
    mean = ReduceMean<axes=[-1]>(a)
    centred = Sub(a, mean)
    squared = Mul(centred, centred)
    variance = ReduceMean<axes=[-1]>(squared)
    safe = Add(variance, half)
    deviation = Sqrt(safe)
    unit = Div(centred, deviation)
    gained = Mul(unit, gain)
    normed = Add(gained, shift)
    y = MatMul(normed, w)
"""
GELU = """
    a = Relu(x)
    s = Div(a, half)
    e = Erf(s)
    p = Add(e, half)
    g = Mul(a, p)
    h = Mul(g, half)
    y = MatMul(h, w)
"""


def inside(body, outputs="float[2,7,5] y"):
    """Names of the tensors that need no grid."""
    arrays = {
        "half": 0.5,
        "gain": np.ones(4, np.float32),
        "shift": np.ones(4, np.float32),
        "w": np.ones((4, 5), np.float32),
    }
    used = {name: array for name, array in arrays.items() if f"{name})" in body}
    model = build_model(f"(float[2,7,4] x) => ({outputs}) {{ {body} }}", opset=17, **used)
    return {value.name for value in float_values(list(model.graph))}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LAYER_NORM, "mean centred squared variance safe deviation unit gained"),
        (GELU, "s e p g"),
        ("a = Neg(x) b = Relu(a) y = MatMul(b, w)", ""),
        ("a = Neg(x) b = Mul(a, x) y = MatMul(b, w)", "a"),
    ],
)
def test_what_is_inside(body, expected):
    """All that stands between; not what comes in, nor what a layer reads."""
    assert inside(body) == set(expected.split())


def test_a_residual_sum_stays_on_integers():
    """A normalised tensor that a layer reads, too, does not make its sum a float one."""
    body = """
        n = Neg(x)
        m = MatMul(n, w)
        k = MatMul(m, w_2)
        s = Add(n, k)
        y = Neg(s)
    """.replace("w_2", "w_t")
    model = build_model(
        f"(float[2,7,4] x) => (float[2,7,4] y) {{ {body} }}",
        w=np.ones((4, 5), np.float32),
        w_t=np.ones((5, 4), np.float32),
    )
    assert not float_values(list(model.graph))


def test_a_small_gate_is_quantized():
    """The gate of squeeze-and-excite is smaller than what it opens and closes."""
    assert inside(
        "a = Relu(x) m = ReduceMean<axes=[1]>(a) g = Sqrt(m) h = Mul(a, g) y = MatMul(h, w)"
    ) == {"m"}


def test_outputs_are_not_inside():
    """An output of the graph is read by somebody outside of it."""
    assert not inside("a = Neg(x) y = Neg(a)", "float[2,7,4] y, float[2,7,4] a")


ATTENTION = "(float[2,7,4] x, float[2,4,7] k) => (float[2,7,7] y)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("p = MatMul(x, k) s = Mul(p, w) y = Softmax(s)", "p s"),
        ("p = MatMul(x, k) s = Div(w, p) m = Add(b, s) y = Softmax(m)", "p s m"),
        ("p = MatMul(x, k) t = Transpose(p) y = Softmax(t)", "p t"),
        ("p = MatMul(x, c) y = Softmax(p)", ""),
        ("p = MatMul(x, k) s = Relu(p) y = Softmax(s)", ""),
        ("p = MatMul(x, k) r = Softmax(p) y = Add(r, p)", ""),
    ],
)
def test_logits_of_attention(body, expected):
    """A product of activations and what scales it, up to the Softmax that alone reads it."""
    given = {
        name: np.ones(1, np.float32) for name in "wb" if f" {name}" in body or f"({name}" in body
    }
    if "c)" in body:
        given["c"] = np.ones((4, 7), np.float32)
    model = build_model(f"{ATTENTION} {{ {body} }}", **given)
    assert {value.name for value in attention_logits(list(model.graph))} == set(expected.split())
