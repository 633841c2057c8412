"""Max pooling before activation functions."""

import numpy as np
import onnx_ir as ir
import pytest

from passes import EarlyMaxPools, UnsignedActivations
from tests.passes.helpers import build_model, operator_types, run_model


def behind(
    function, *, pool="kernel_shape=[2,2], strides=[2,2]", after="s2, z2", extra="", outputs="",
    kind=np.uint8, point=128,
):  # fmt: skip
    """Return a net of an activation function, a MaxPool, and pairs around them."""
    return build_model(
        f"""(float[N,2,6,6] x) => (float[n,2,h,w] y{outputs}) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            a = {function}
            aq = QuantizeLinear(a, s2, z2)
            ad = DequantizeLinear(aq, s2, z2)
            m = MaxPool<{pool}>(ad)
            p = QuantizeLinear(m, {after})
            y = DequantizeLinear(p, {after})
            {extra}
        }}""",
        s=0.125,
        z=np.uint8(128),
        s2=0.25,
        z2=np.array(point, kind),
        other=np.uint8(127),
        slope=np.float32(0.2).reshape(1),
    )


@pytest.mark.parametrize(
    ("function", "pool"),
    [
        ("LeakyRelu<alpha=0.1>(d)", "kernel_shape=[2,2], strides=[2,2]"),
        ("LeakyRelu(d)", "kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]"),
        ("Sigmoid(d)", "kernel_shape=[2,2], pads=[0,0,1,1]"),
        ("HardSigmoid(d)", "kernel_shape=[5,5], pads=[2,2,2,2]"),
        ("Tanh(d)", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1"),
    ],
)
def test_the_order_does_not_matter(rng, function, pool):
    """The pooling comes first, and every value is the same."""
    model = behind(function, pool=pool)
    x = rng.normal(0, 4, (2, 2, 6, 6)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    assert EarlyMaxPools()(model).modified
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    kinds = operator_types(model)
    assert kinds.index("MaxPool") < kinds.index(function.split("(")[0].split("<")[0])
    assert kinds.count("QuantizeLinear") == 3


def test_four_bits(rng):
    """A function whose output has 4 bits keeps the Clip that stores them in 8."""
    model = behind("LeakyRelu<alpha=0.25>(d)", kind=ir.DataType.INT4.numpy(), point=0)
    UnsignedActivations()(model)
    x = rng.normal(0, 4, (1, 2, 6, 6)).astype(np.float32)
    expected = run_model(model, x=x)["y"]
    before = operator_types(model).count("Clip")
    assert EarlyMaxPools()(model).modified
    np.testing.assert_array_equal(run_model(model, x=x)["y"], expected)
    assert before - operator_types(model).count("Clip") in (0, 1)


@pytest.mark.parametrize(
    "declined",
    [
        {"function": "Relu(d)"},
        {"function": "PRelu(d, slope)"},
        {"function": "LeakyRelu<alpha=-0.1>(d)"},
        {"function": "HardSwish(d)"},
        {"function": "Sigmoid(d)", "after": "s2, other"},
        {"function": "Sigmoid(d)", "extra": "seen = Relu(a)", "outputs": ", float[n,2,h,w] seen"},
        {"function": "Sigmoid(d)", "extra": "seen = Relu(ad)", "outputs": ", float[n,2,h,w] seen"},
        {"function": "Sigmoid(x)"},
    ],
)
def test_it_declines(declined):
    """Functions that fall or that layers take in, other grids and other readers stop it."""
    model = behind(**declined)
    assert not EarlyMaxPools()(model).modified
