"""Activation functions in all their spellings become one operator each."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import CanonicalActivations

CONSTANTS = {
    "zero": 0.0,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "five": 5.0,
    "six": 6.0,
    "sixth": 1 / 6,
    "huge": float(np.finfo(np.float32).max),
    "vector": np.float32([3, 3, 3, 3]),
}
EXACT_SIXTH = float(np.float32(1 / 6))

RELU = {
    "no maximum": "y = Clip(x, zero)",
    "empty maximum": "y = Clip(x, zero, )",
    "the largest float": "y = Clip(x, zero, huge)",
}
HARD_SIGMOID = {
    "division": "a = Add(x, three) b = Clip(a, zero, six) y = Div(b, six)",
    "three first": "a = Add(three, x) b = Clip(a, zero, six) y = Div(b, six)",
    "product": "a = Add(x, three) b = Clip(a, zero, six) y = Mul(b, sixth)",
    "product, constant first": "a = Add(three, x) b = Clip(a, zero, six) y = Mul(sixth, b)",
}
HARD_SWISH = {
    "of HardSigmoid": f"a = HardSigmoid<alpha={EXACT_SIXTH!r}>(x) y = Mul(x, a)",
    "of HardSigmoid, gate first": "a = HardSigmoid<alpha=0.1666667, beta=0.5>(x) y = Mul(a, x)",
    "divided gate": "a = Add(x, three) b = Clip(a, zero, six) c = Div(b, six) y = Mul(x, c)",
    "multiplied gate": "a = Add(x, three) b = Clip(a, zero, six) c = Mul(sixth, b) y = Mul(c, x)",
    "divided afterwards": "a = Add(x, three) b = Clip(a, zero, six) c = Mul(x, b) y = Div(c, six)",
    "gate first, multiplied afterwards": """
        a = Add(three, x) b = Clip(a, zero, six) c = Mul(b, x) y = Mul(c, sixth)""",
    "divided before": "a = Add(x, three) b = Clip(a, zero, six) c = Div(x, six) y = Mul(c, b)",
    "multiplied before": "a = Add(x, three) b = Clip(a, zero, six) c = Mul(sixth, x) y = Mul(b, c)",
    "multiplied afterwards, constant first": """
        a = Add(three, x) b = Clip(a, zero, six) c = Mul(x, b) y = Mul(sixth, c)""",
}
SIGMOID = {
    "reciprocal": "a = Neg(x) b = Exp(a) c = Add(b, one) y = Div(one, c)",
    "reciprocal, one first": "a = Neg(x) b = Exp(a) c = Add(one, b) y = Div(one, c)",
}
SILU = {
    "quotient": "a = Neg(x) b = Exp(a) c = Add(b, one) y = Div(x, c)",
    "quotient, one first": "a = Neg(x) b = Exp(a) c = Add(one, b) y = Div(x, c)",
}
SPELLINGS = [
    pytest.param(body, expected, id=f"{'·'.join(expected)}: {name}")
    for family, expected in (
        (RELU, ["Relu"]),
        (HARD_SIGMOID, ["HardSigmoid"]),
        (HARD_SWISH, ["HardSwish"]),
        (SIGMOID, ["Sigmoid"]),
        (SILU, ["Sigmoid", "Mul"]),
    )
    for name, body in family.items()
]


def model_of(build, body, *, inputs="", outputs="", opset=14):
    """A graph of one input of four numbers, with the constants that the body reads."""
    read = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    graph = f"(float[1,4,3,4] x {inputs}) => (float[n,c,h,w] y {outputs}) {{ {body} }}"
    return build(graph, opset=opset, **constants)


def numbers(rng):
    """Numbers on both sides of every kink, the kinks too."""
    x = rng.uniform(-8, 8, 48)
    x[:8] = [0, -0.0, 3, -3, 6, -6, 1, -1]
    return x.astype(np.float32).reshape(1, 4, 3, 4)


@pytest.mark.parametrize(("body", "expected"), SPELLINGS)
def test_spelling_is_recognised(build, run, error, operators, rng, body, expected):
    """One operator takes the place of the spelling, named as before, within 1e-6."""
    model = model_of(build, body)
    x = numbers(rng)
    before = run(model, x=x)
    assert CanonicalActivations()(model).modified
    RemoveUnusedNodesPass()(model)
    assert operators(model) == expected
    assert [output.name for output in model.graph.outputs] == ["y"]
    assert error(before, run(model, x=x)) < 1e-6


NEAR_MISSES = {
    "ReLU5": "y = Clip(x, zero, five)",
    "ReLU6": "y = Clip(x, zero, six)",
    "a minimum that is not zero": "y = Clip(x, one)",
    "no minimum": "y = Clip(x, , six)",
    "plus 2": "a = Add(x, two) b = Clip(a, zero, six) y = Div(b, six)",
    "plus a vector": "a = Add(x, vector) b = Clip(a, zero, six) y = Div(b, six)",
    "clipped at 5": "a = Add(x, three) b = Clip(a, zero, five) y = Div(b, six)",
    "clipped from 1": "a = Add(x, three) b = Clip(a, one, six) y = Div(b, six)",
    "divided by 5": "a = Add(x, three) b = Clip(a, zero, six) y = Div(b, five)",
    "times 6": "a = Add(x, three) b = Clip(a, zero, six) y = Mul(b, six)",
    "6 divided": "a = Add(x, three) b = Clip(a, one, six) y = Div(six, b)",
    "gate of the usual slope": "a = HardSigmoid(x) y = Mul(x, a)",
    "gate of another offset": "a = HardSigmoid<alpha=0.16666667, beta=0.4>(x) y = Mul(x, a)",
    "gate of another tensor": "n = Neg(x) a = HardSigmoid<alpha=0.16666667>(n) y = Mul(x, a)",
    "product with another tensor": """
        n = Neg(x) a = Add(n, three) b = Clip(a, zero, six) c = Mul(x, b) y = Div(c, six)""",
    "2 / (1 + exp(−x))": "a = Neg(x) b = Exp(a) c = Add(b, one) y = Div(two, c)",
    "1 / (2 + exp(−x))": "a = Neg(x) b = Exp(a) c = Add(b, two) y = Div(one, c)",
    "1 / (1 + exp(x))": "b = Exp(x) c = Add(b, one) y = Div(one, c)",
    "(1 + exp(−x)) / x": "a = Neg(x) b = Exp(a) c = Add(b, one) y = Div(c, x)",
    "another numerator": "n = Relu(x) a = Neg(x) b = Exp(a) c = Add(b, one) y = Div(n, c)",
}


@pytest.mark.parametrize("body", NEAR_MISSES.values(), ids=NEAR_MISSES.keys())
def test_near_miss_is_left_alone(build, operators, body):
    """Another number, another operand or another order is another function."""
    model = model_of(build, body)
    before = operators(model)
    assert not CanonicalActivations()(model).modified
    assert operators(model) == before


@pytest.mark.parametrize("tensor", ["a", "b"])
@pytest.mark.parametrize("how", ["reader", "output"])
@pytest.mark.parametrize(
    "body",
    [HARD_SIGMOID["division"], HARD_SWISH["divided afterwards"], SIGMOID["reciprocal"]],
    ids=["HardSigmoid", "HardSwish", "Sigmoid"],
)
def test_an_intermediate_result_in_use_is_left_alone(build, operators, body, tensor, how):
    """A spelling of which somebody else reads a part, or of which a part is an output, stays."""
    if how == "reader":
        model = model_of(build, f"{body} z = Abs({tensor})", outputs=", float[n,c,h,w] z")
    else:
        model = model_of(build, body, outputs=f", float[n,c,h,w] {tensor}")
    before = operators(model)
    assert not CanonicalActivations()(model).modified
    assert operators(model) == before


def test_a_computed_bound_is_left_alone(build, operators):
    """A minimum that comes from outside need not be zero."""
    model = model_of(build, "y = Clip(x, low)", inputs=", float low")
    assert not CanonicalActivations()(model).modified
    assert operators(model) == ["Clip"]


def test_integers_are_left_alone(build, operators):
    """Clip of indices is no ReLU, which ONNX Runtime has for floats only."""
    model = build("(int64[4] x) => (int64[4] y) <int64 none = {0}> { y = Clip(x, none) }", opset=14)
    assert not CanonicalActivations()(model).modified
    assert operators(model) == ["Clip"]


@pytest.mark.parametrize(
    ("body", "opset"), [(HARD_SWISH["divided gate"], 14), (HARD_SIGMOID["division"], 13)]
)
def test_opset_rises_for_hard_swish_alone(build, run, rng, body, opset):
    """HardSwish is of opset 14; without one a model of opset 13 stays one."""
    model = model_of(build, body, opset=13)
    CanonicalActivations()(model)
    assert model.opset_imports[""] == opset
    assert np.isfinite(run(model, x=numbers(rng))["y"]).all()
