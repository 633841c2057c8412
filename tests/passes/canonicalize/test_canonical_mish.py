"""Mish in its spellings."""

import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from passes import CanonicalMish

SPELLINGS = {
    "Softplus": "p = Softplus(x) t = Tanh(p) y = Mul(x, t)",
    "gate first": "p = Softplus(x) t = Tanh(p) y = Mul(t, x)",
    "logarithm": "e = Exp(x) o = Add(e, one) p = Log(o) t = Tanh(p) y = Mul(x, t)",
    "logarithm, one first": "e = Exp(x) o = Add(one, e) p = Log(o) t = Tanh(p) y = Mul(t, x)",
}


def spelled(build, body, *, opset=18, outputs=""):
    """A graph of one input, with the constants that the body reads."""
    arrays = {name: 1.0 if name == "one" else 2.0 for name in ("one", "two") if name in body}
    graph = f"(float[2,3] x) => (float[2,3] y {outputs}) {{ {body} }}"
    return build(graph, opset=opset, **arrays)


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_each_spelling_is_one_operator(build, operators, run, error, rng, body):
    """Named as before, with the same values."""
    model = spelled(build, body)
    x = rng.normal(0, 3, (2, 3)).astype(np.float32)
    before = run(model, x=x)
    assert CanonicalMish()(model).modified
    RemoveUnusedNodesPass()(model)
    assert operators(model) == ["Mish"]
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert error(before, run(model, x=x)) < 1e-5
    assert not CanonicalMish()(model).modified


DECLINED = {
    "an older opset": (SPELLINGS["Softplus"], 17, ""),
    "another gate": ("n = Neg(x) p = Softplus(n) t = Tanh(p) y = Mul(x, t)", 18, ""),
    "another number": ("e = Exp(x) o = Add(e, two) p = Log(o) t = Tanh(p) y = Mul(x, t)", 18, ""),
    "twice": ("p = Softplus(x) t = Tanh(p) g = Mul(x, t) y = Mul(g, two)", 18, ", float[2,3] g"),
    "a part in use": (SPELLINGS["Softplus"], 18, ", float[2,3] t"),
    "no product": ("p = Softplus(x) t = Tanh(p) y = Add(x, t)", 18, ""),
}


@pytest.mark.parametrize(("body", "opset", "outputs"), DECLINED.values(), ids=DECLINED.keys())
def test_anything_else_stays(build, operators, body, opset, outputs):
    """Each of the declined cases, and near misses; a factor behind it is another node."""
    model = spelled(build, body, opset=opset, outputs=outputs)
    before = operators(model)
    changed = CanonicalMish()(model).modified
    assert changed == ("g = Mul" in body)
    assert changed or operators(model) == before
