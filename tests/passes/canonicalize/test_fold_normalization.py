"""What is done to pixels before the first layer."""

import numpy as np
import pytest

from passes import FoldNormalization
from tests.passes.helpers import build_model, operator_types, relative_error, run_model

MEAN = np.array([104, 117, 123], np.float32).reshape(3, 1, 1)
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
NORM = {name: np.array(v, np.float32) for name, v in (("s", [1, 2, 3]), ("v", [4, 5, 6]))}


def net(before, *, pads, **arrays):
    """A Conv behind what is done to the picture."""
    attributes = f"<pads=[{pads},{pads},{pads},{pads}]>"
    return build_model(
        f"""(float[N,3,8,8] x) => (float[N,4,?,?] y) {{
            {before}
            y = Conv{attributes}(n, weight, bias)
        }}""",
        weight=WEIGHT,
        bias=np.ones(4, np.float32),
        **arrays,
    )


@pytest.mark.parametrize(
    ("before", "pads", "arrays"),
    [
        ("n = Div(x, white)", 1, {"white": 255.0}),
        ("n = Mul(x, step)", 1, {"step": 1 / 255}),
        ("c = Sub(x, mean) n = Div(c, std)", 0, {"mean": MEAN, "std": MEAN / 2}),
        ("c = Mul(x, std) n = Add(c, mean)", 0, {"mean": MEAN, "std": MEAN / 2}),
        ("n = BatchNormalization(x, s, s, s, v)", 0, NORM),
    ],
)
def test_it_becomes_part_of_the_first_layer(before, pads, arrays, rng):
    """Exactly, and once: a second run finds nothing."""
    model = net(before, pads=pads, **arrays)
    feed = rng.uniform(0, 255, (2, 3, 8, 8)).astype(np.float32)
    expected = run_model(model, x=feed)
    assert FoldNormalization()(model).modified
    assert operator_types(model) == ["Conv"]
    assert relative_error(expected, run_model(model, x=feed)) < 1e-5
    assert not FoldNormalization()(model).modified


@pytest.mark.parametrize(
    ("before", "pads", "arrays"),
    [
        ("n = Sub(x, mean)", 1, {"mean": MEAN}),
        ("n = Mul(x, nothing)", 1, {"nothing": 0.0}),
        ("n = Sigmoid(x)", 1, {}),
        ("c = Div(x, white) n = Sigmoid(c)", 1, {"white": 255.0}),
        ("n = Mul(x, x)", 1, {}),
    ],
)
def test_declined(before, pads, arrays):
    """Zeros of the padding stand for what is normalised, and other readers read it."""
    model = net(before, pads=pads, **arrays)
    operators = operator_types(model)
    assert not FoldNormalization()(model).modified
    assert operator_types(model) == operators
