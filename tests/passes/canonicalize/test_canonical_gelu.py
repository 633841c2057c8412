"""GELU in its spellings."""

import math

import numpy as np
import onnx
import pytest

from passes import CanonicalGelu
from tests.passes.helpers import build_model, operator_types, relative_error, run_model

ROOT = np.float32(math.sqrt(2))
INVERSE = np.float32(math.sqrt(0.5))

SPELLINGS = {
    "half at the end": "g = Mul(x, p) y = Mul(g, half)",
    "half first": "h = Mul(half, x) y = Mul(h, p)",
    "half of the gate": "h = Mul(p, half) y = Mul(h, x)",
    "divided at the end": "g = Mul(p, x) y = Div(g, two)",
    "divided first": "h = Div(x, two) y = Mul(p, h)",
}


def spelled(body, *, scaled="Div(x, root)", opset=20, outputs="float[2,3] y", **more):
    """A GELU whose last products are given."""
    text = f"s = {scaled} e = Erf(s) p = Add(e, one) {body}"
    constants = {"root": ROOT, "inverse": INVERSE, "one": 1.0, "half": 0.5, "two": 2.0} | more
    used = {name: value for name, value in constants.items() if name in text}
    return build_model(f"(float[2,3] x) => ({outputs}) {{ {text} }}", opset=opset, **used)


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("scaled", ["Div(x, root)", "Mul(inverse, x)"])
def test_spellings(body, scaled, rng):
    """Each becomes one Gelu, whose values are the same."""
    model = spelled(body, scaled=scaled)
    x = rng.normal(0, 2, (2, 3)).astype(np.float32)
    before = run_model(model, x=x)
    assert CanonicalGelu()(model).modified
    model.graph.sort()
    gelu = [node for node in model.graph if node.op_type == "Gelu"]
    assert len(gelu) == 1
    assert model.graph.outputs[0].producer() is gelu[0]
    assert relative_error(before, run_model(model, x=x)) < 1e-5


@pytest.mark.parametrize(
    "declined",
    [
        {"body": "g = Mul(x, p) y = Mul(g, half)", "opset": 19},
        {"body": "g = Mul(x, p) y = Mul(g, two)"},
        {"body": "g = Mul(x, p) y = Mul(g, half)", "scaled": "Mul(x, half)"},
        {"body": "g = Mul(e, p) y = Mul(g, half)"},
        {
            "body": "g = Mul(x, p) y = Mul(g, half) z = Relu(p)",
            "outputs": "float[2,3] y, float[2,3] z",
        },
        {"body": "y = Mul(x, p)"},
    ],
)
def test_declined(declined):
    """An older opset, other numbers, another function, a part that is read elsewhere."""
    model = spelled(**declined)
    assert not CanonicalGelu()(model).modified
    assert "Gelu" not in operator_types(model)


CUBES = {
    "a power": "c = Pow(x, three)",
    "a product": "q = Mul(x, x) c = Mul(q, x)",
    "a product, the square behind": "q = Mul(x, x) c = Mul(x, q)",
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("cube", CUBES.values(), ids=CUBES)
def test_the_approximate_one(body, cube, rng):
    """With tanh it is another function, for which the operator has an attribute."""
    text = f"{cube} d = Mul(c, small) i = Add(x, d) s = Mul(i, scale) e = Tanh(s) p = Add(e, one)"
    constants = {"three": 3.0, "small": 0.044715, "scale": math.sqrt(2 / math.pi), "one": 1.0}
    constants |= {"half": 0.5, "two": 2.0}
    used = {name: value for name, value in constants.items() if name in f"{text} {body}"}
    model = build_model(f"(float[2,3] x) => (float[2,3] y) {{ {text} {body} }}", **used)
    x = rng.normal(0, 2, (2, 3)).astype(np.float32)
    before = run_model(model, x=x)
    assert CanonicalGelu()(model).modified
    gelu = model.graph.outputs[0].producer()
    assert gelu.attributes["approximate"].as_string() == "tanh"
    assert relative_error(before, run_model(model, x=x)) < 1e-5


@pytest.mark.parametrize("changed", [{"small": 0.05}, {"scale": 0.7}, {"three": 2.0}])
def test_other_numbers_are_another_function(changed):
    """A polynomial that looks alike stays."""
    text = """c = Pow(x, three) d = Mul(c, small) i = Add(x, d) s = Mul(i, scale) e = Tanh(s)
        p = Add(e, one) g = Mul(x, p) y = Mul(g, half)"""
    constants = {"three": 3.0, "small": 0.044715, "scale": math.sqrt(2 / math.pi)} | changed
    constants |= {"one": 1.0, "half": 0.5}
    model = build_model(f"(float[2,3] x) => (float[2,3] y) {{ {text} }}", **constants)
    assert not CanonicalGelu()(model).modified


def test_the_operator_is_the_reference_one():
    """What the passes call Gelu is what onnx defines: erf, no approximation."""
    schema = onnx.defs.get_schema("Gelu", 20)
    assert schema.attributes["approximate"].default_value.s == b"none"
