"""The operator Swish becomes the SiLU that everything else knows."""

import numpy as np
import pytest

from passes import SpellSwish
from passes.graph import is_silu


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("", ["Sigmoid", "Mul"]),
        ("<alpha=1.0>", ["Sigmoid", "Mul"]),
        ("<alpha=1.7>", ["Mul", "Sigmoid", "Mul"]),
    ],
)
def test_swish_is_written_out(build, operators, run, rng, attribute, expected):
    """As x·Sigmoid(α·x), which is its definition; the output keeps its name."""
    alpha = 1.7 if "1.7" in attribute else 1.0
    model = build(
        f"(float[1,4,3,4] x) => (float[n,c,h,w] y) {{ y = Swish{attribute}(x) }}", opset=24
    )
    assert SpellSwish()(model).modified
    assert operators(model) == expected
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert is_silu(model.graph[-1]) == (alpha == 1)
    model.opset_imports[""] = 21
    x = rng.normal(0, 3, (1, 4, 3, 4)).astype(np.float32)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(
        run(model, x=x)["y"], wide / (1 + np.exp(-alpha * wide)), rtol=1e-5, atol=1e-6
    )
    assert not SpellSwish()(model).modified
