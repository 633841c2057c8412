"""What the graph says of an output."""

import numpy as np
import pytest

from tests.passes.helpers import build_model
from tests.zqc.detection.conventions.helpers import facts_of
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.tracing import (
    activation,
    are_logits,
    array_of,
    computed_by,
    has_operator,
    is_picked,
    makers,
    moved_from,
    output_activation,
    output_value,
    score_mask,
    scores_along,
    sizes_before,
)
from zqc.detection.parts import OutputPart

FACTS = facts_of("""(float[1, 3, 4, 4] x, float[4, 3, 1, 1] w, float[2, 3, 1, 1] v)
  => (float[1, 16, 6] y, float[1, 4, 4, 4] z, float[1, 6, 5] t)
  <int64[3] shape = {1, -1, 16}, float two = {2.0}, int64[1] k = {5}> {
    z = Conv(x, w)  b = Conv(x, v)  s = Sigmoid(b)  twice = Mul(z, two)
    j = Concat<axis = 1>(twice, s)  flat = Reshape(j, shape)
    y = Transpose<perm = [0, 2, 1]>(flat)
    high = Exp(flat)  t, places = TopK(high, k)
}""")


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


def test_scores_of_several_outputs():
    """All logits, or all behind the sigmoid; else it is not known."""
    facts = facts_of("""(float[1, 2, 4] x, float[4, 4] w)
      => (float[1, 2, 4] l, float[1, 2, 4] s, float[1, 2, 4] m) {
        l = MatMul(x, w)  s = Sigmoid(l)  m = Softmax(l)
    }""")
    assert are_logits(facts, ["l"]) is True
    assert are_logits(facts, ["s", "s"]) is False
    for names in (["l", "s"], ["m"], ["missing"], []):
        assert are_logits(facts, names) is None


def test_operators_behind_the_last_layers():
    """What moves values is left out, and what stands before the layers is not seen."""
    assert computed_by(output_value(FACTS, "y")) == {"Mul", "Sigmoid"}
    assert computed_by(output_value(FACTS, "z")) == set()


def test_channels_of_the_last_layers():
    """In the order in which they are joined."""
    assert sizes_before(output_value(FACTS, "y")) == [4, 2]
    assert sizes_before(output_value(FACTS, "z")) == [4]


def test_what_moves_values_is_seen_through():
    """Up to where they are joined."""
    assert moved_from(output_value(FACTS, "y")).op_type == "Concat"
    assert moved_from(output_value(FACTS, "z")).op_type == "Conv"
    assert moved_from(None) is None


def test_selected_outputs():
    """Behind TopK, and not."""
    assert is_picked(FACTS, "t")
    assert not is_picked(FACTS, "y")
    assert not is_picked(Facts({"t": (1, 6, 5)}, 8, 8), "t")


def test_places_of_scores():
    """The last two columns are behind the sigmoid; no row is altogether."""
    assert scores_along(FACTS, "y", 2).tolist() == [False] * 4 + [True] * 2
    assert scores_along(FACTS, "y", 1) is None
    assert scores_along(FACTS, "z", 1) is None
    assert score_mask(FACTS, "y").sum() == 32


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (OutputPart("scores", "o", "scores"), [True, True]),
        (OutputPart("boxes", "o", "boxes"), [False, False]),
        (OutputPart("o", "o", "raw"), None),
        (OutputPart("scores", "o", "scores", np.ones((3, 3), bool)), None),
        (OutputPart("scores", "other", "scores"), None),
    ],
)
def test_parts_decide(part, expected):
    """Whole outputs need no mask; what is raw, elsewhere or of another shape says nothing."""
    found = scores_along(Facts({"o": (1, 2, 3)}, 8, 8, parts=(part,)), "o", 1)
    assert (None if found is None else found.tolist()) == expected
