"""Means over height and width."""

import numpy as np
import pytest

from passes import MeansToPools
from tests.passes.helpers import build_model, operator_types, relative_error, run_model


def mean(axes, *, keepdims=1, opset=18, shape="2,3,4,5", out="n,c,h,w"):
    """Return a graph of one ReduceMean."""
    given = "" if opset >= 18 else f"axes={axes}, "
    operand = ", axes" if opset >= 18 else ""
    return build_model(
        f"""(float[{shape}] x) => (float[{out}] y) {{
            y = ReduceMean<{given}keepdims={keepdims}>(x{operand})
        }}""",
        opset=opset,
        **({"axes": np.array(axes)} if operand else {}),
    )


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("axes", [[2, 3], [3, 2], [-1, -2], [2, -1]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_spatial_means(rng, opset, axes, keepdims):
    """The pool gives the same numbers in the same shape."""
    out = "n,c,h,w" if keepdims else "n,c"
    model = mean(axes, keepdims=keepdims, opset=opset, out=out)
    x = rng.normal(1, 1, (2, 3, 4, 5)).astype(np.float32)
    before = run_model(model, x=x)
    assert MeansToPools()(model).modified
    assert operator_types(model) == ["GlobalAveragePool"] + ["Flatten"] * (1 - keepdims)
    assert relative_error(before, run_model(model, x=x)) < 1e-6


@pytest.mark.parametrize(
    "declined",
    [{"axes": [1]}, {"axes": [1, 2, 3]}, {"axes": [1, 2], "shape": "2,3,4", "out": "n,c,h"}],
)
def test_declined(declined):
    """Other axes and other ranks stay."""
    assert not MeansToPools()(mean(**declined)).modified
