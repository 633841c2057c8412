"""What the graph says of an output."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.tracing import (
    activation,
    array_of,
    has_operator,
    makers,
    output_activation,
    output_value,
)


def last(body, **arrays):
    """The output of a graph."""
    text = f"(float[1,2,4] x) => (float[1,a,b] y) {{ {body} }}"
    return build_model(text, **arrays).graph.outputs[0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Sigmoid(x)", "sigmoid"),
        ("s = Softmax(x) y = Transpose<perm=[0,2,1]>(s)", "softmax"),
        ("a = Sigmoid(x) b = Sigmoid(x) y = Concat<axis=1>(a, b)", "sigmoid"),
        ("y = MatMul(x, w)", "none"),
        ("p = MatMul(x, w) q = Add(p, w) y = Identity(q)", "none"),
        ("a = Sigmoid(x) b = Softmax(x) y = Concat<axis=1>(a, b)", None),
        ("a = Sigmoid(x) y = Mul(a, a)", None),
        ("y = Identity(x)", None),
    ],
)
def test_what_scores_have_been_through(body, expected):
    """Sigmoid or Softmax through any moves, a layer for logits, and else it is not known."""
    assert activation(last(body, w=np.eye(4, dtype=np.float32))) == expected


def test_makers_are_behind_what_only_moves():
    """Each operator that computes, and an empty name for what nothing computes."""
    value = last("a = Exp(x) y = Concat<axis=1>(a, x)")
    assert makers(value) == {"Exp", ""}
    assert makers(None) == {""}


def test_outputs_are_found_by_name():
    """And there is nothing where there is no graph, or no such output."""
    graph = last("y = Sigmoid(x)").producer().graph
    facts = Facts({}, 8, 8, graph=graph)
    assert output_value(facts, "y") is graph.outputs[0]
    assert output_value(facts, "z") is None
    assert output_activation(facts, "y") == "sigmoid"
    assert output_activation(Facts({}, 8, 8), "y") is None
    assert has_operator(facts, "TopK", "Sigmoid")
    assert not has_operator(facts, "TopK")
    assert not has_operator(Facts({}, 8, 8), "Sigmoid")


def test_constants_are_found_however_they_are_written():
    """Initializers, Constant nodes, and what is moved from them; not what is computed."""
    given = np.arange(3, dtype=np.float32)
    model = build_model(
        """(float[1,3] x) => (float[1,3] y) {
            c = Constant<value = float[3] {0., 1., 2.}>()
            d = Identity(c)
            e = Neg(d)
            y = Sum(x, w, d, e)
        }""",
        w=given,
    )
    computed, *constants = list(model.graph)[-1].inputs
    assert array_of(computed) is None
    assert array_of(constants[0]).tolist() == array_of(constants[1]).tolist() == given.tolist()
    assert array_of(constants[2]) is None
    assert array_of(None) is None
