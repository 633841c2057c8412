"""Hard-swish and hard-sigmoid on integers."""

import numpy as np
import pytest

from passes import IntegerHardActivations
from tests.passes.helpers import build_model, operator_types, run_model
from zqc.runtime import session


def between_pairs(
    function, *, scale=2.0**-4, point=128, kind=np.uint8, after=2.0**-4, zero=12, extra="",
    outputs="",
):  # fmt: skip
    """Return a net of a function between two pairs."""
    return build_model(
        f"""(float[n] x) => (float[n] y{outputs}) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            a = {function}
            p = QuantizeLinear(a, s2, z2)
            y = DequantizeLinear(p, s2, z2)
            {extra}
        }}""",
        s=float(scale),
        z=kind(point),
        s2=float(after),
        z2=kind(zero),
    )


def every_value(scale, point, low):
    """One value for each integer of a grid."""
    return ((np.arange(256) + low - point) * np.float32(scale)).astype(np.float32)


@pytest.mark.parametrize("exponent", [-5, -4, -3, -2, 0])
@pytest.mark.parametrize(("after", "zero"), [(-6, 24), (-5, 12), (-4, 128), (-3, 0)])
@pytest.mark.parametrize(("kind", "low"), [(np.uint8, 0), (np.int8, -128)])
def test_hard_swish(exponent, after, zero, kind, low):
    """All 256 inputs give the bits of the float function, on every grid, fused or not."""
    grids = {"scale": 2.0**exponent, "point": 128 + low, "kind": kind, "after": 2.0**after}
    model = between_pairs("HardSwish(d)", **grids, zero=zero + low)
    x = every_value(2.0**exponent, 128 + low, low)
    expected = run_model(model, x=x)["y"]
    assert IntegerHardActivations()(model).modified
    assert "HardSwish" not in operator_types(model)
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    np.testing.assert_array_equal(session.load(model, threads=1)({"x": x})["y"], expected)


@pytest.mark.parametrize("exponent", [-6, -5, -4, -3, 0])
@pytest.mark.parametrize("function", ["<alpha=0.16666667, beta=0.5>", "<alpha=0.2>", "<alpha=1.0>"])
def test_hard_sigmoid(exponent, function):
    """All 256 inputs give the bits of the float function, or it stays as it is."""
    model = between_pairs(f"HardSigmoid{function}(d)", scale=2.0**exponent, after=2.0**-8, zero=0)
    x = every_value(2.0**exponent, 128, 0)
    expected = run_model(model, x=x)["y"]
    assert IntegerHardActivations()(model).modified
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    kinds = operator_types(session.executed_graph(model))
    np.testing.assert_array_equal(session.load(model, threads=1)({"x": x})["y"], expected)
    assert "HardSigmoid" not in kinds


def test_both_run_on_integer_kernels():
    """ONNX Runtime makes a product of integers and a table of them."""
    swish, sigmoid = (
        between_pairs("HardSwish(d)"),
        between_pairs("HardSigmoid<alpha=0.16666667>(d)", after=2.0**-8, zero=0),
    )
    IntegerHardActivations()(swish)
    IntegerHardActivations()(sigmoid)
    assert "QLinearMul" in operator_types(session.executed_graph(swish))
    assert "QLinearLeakyRelu" in operator_types(session.executed_graph(sigmoid))


@pytest.mark.parametrize(
    "declined",
    [
        {"function": "HardSwish(d)", "scale": 2.0**-6},
        {"function": "HardSwish(d)", "scale": 2.0},
        {"function": "HardSwish(d)", "scale": 2.0**-4, "point": 20},
        {"function": "HardSwish(x)"},
        {"function": "HardSwish(d)", "extra": "t = Relu(a)", "outputs": ", float[n] t"},
        {"function": "HardSigmoid<beta=0.3>(d)", "after": 2.0**-8, "zero": 0},
        {"function": "HardSigmoid<alpha=-0.2>(d)", "after": 2.0**-8, "zero": 0},
        {"function": "HardSigmoid<beta=1.5>(d)", "after": 2.0**-8, "zero": 0},
    ],
)
def test_it_declines(declined):
    """A grid that does not reach -3, or bounds that are no integers, leave it in float."""
    model = between_pairs(**declined)
    assert not IntegerHardActivations()(model).modified
