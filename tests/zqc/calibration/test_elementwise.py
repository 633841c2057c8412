"""Activation functions on arrays, as ONNX defines them."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from tests.passes.helpers import build_model
from zqc.calibration.elementwise import activation_behind, function_of

CHANNELS = {
    "slopes": np.float32([0.1, -0.5, 2]).reshape(3, 1, 1),
    "factors": np.float32([2, -1, 0.5]).reshape(1, 3, 1, 1),
    "low": np.float32(-1),
    "six": np.float32(6),
}
KNOWN = (
    "Abs(x)",
    "Erf(x)",
    "HardSwish(x)",
    "Mish(x)",
    "Neg(x)",
    "Relu(x)",
    "Sigmoid(x)",
    "Softplus(x)",
    "Tanh(x)",
    "Clip(x, low, six)",
    "Clip(x, , six)",
    "Clip(x)",
    "Elu<alpha=0.7>(x)",
    "Gelu(x)",
    'Gelu<approximate="tanh">(x)',
    "HardSigmoid<alpha=0.3, beta=0.4>(x)",
    "HardSigmoid(x)",
    "LeakyRelu<alpha=0.2>(x)",
    "LeakyRelu(x)",
    "PRelu(x, slopes)",
    "Add(x, factors)",
    "Sub(six, x)",
    "Mul(x, factors)",
    "Div(x, factors)",
)
MIXING = ("Softmax<axis=1>(x)", "Mul(x, x)", "PRelu(x, each)", "Clip(x, computed)")


def model_of(call):
    """One node on three channels."""
    body = f"computed = ReduceMin<keepdims=0>(x) y = {call}"
    each = np.ones((3, 1, 5), np.float32)
    return build_model(
        f"(float[1,3,1,5] x) => (float[n,c,h,w] y) {{ {body} }}", each=each, **CHANNELS
    )


@pytest.mark.parametrize("call", KNOWN)
def test_it_is_what_the_operator_computes(rng, call):
    """In float64 it is at most 1e-5 away from onnx's own evaluation in float32."""
    model = model_of(call)
    x = rng.normal(0, 4, (1, 3, 1, 5)).astype(np.float32)
    (expected,) = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    function = function_of(model.graph[-1])
    found = function(x[0, :, 0].astype(np.float64))
    np.testing.assert_allclose(found, expected[0, :, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("call", MIXING)
def test_what_is_no_function_of_one_value_is_declined(call):
    """Operators that mix values, and parameters that vary in space or are computed."""
    assert function_of(model_of(call).graph[-1]) is None


def test_another_domain_is_declined():
    """Relu of somebody else may be anything."""
    node = ir.node("Relu", [ir.val("x")], domain="com.example")
    assert function_of(node) is None


@pytest.mark.parametrize(
    ("body", "output", "expected"),
    [
        ("y = LeakyRelu<alpha=0.2>(a)", "y", [-0.4, 3]),
        ("y = HardSwish(a)", "y", [-1 / 3, 3]),
        ("s = Sigmoid(a) y = Mul(s, a)", "y", [-2 / (1 + np.exp(2)), 3 / (1 + np.exp(-3))]),
        ("y = Relu(a)", "", None),
        ("y = Sigmoid(a)", "", None),
        ("s = Sigmoid(a) y = Mul(s, x)", "", None),
        ("s = LeakyRelu(a) y = Add(s, a)", "", None),
        ("s = Sigmoid(a) t = Mul(s, a) y = Add(t, a)", "", None),
        ("s = Sigmoid(a) t = Mul(s, a) u = Mul(a, s) y = Add(t, u)", "", None),
        ("y = Identity(x)", "", None),
    ],
)
def test_what_an_activation_function_makes_of_a_tensor(body, output, expected):
    """Known where it alone reads it and leaves a little below zero, as one operator or as two."""
    model = build_model(f"(float[1,3] x) => (float[1,3] y) {{ a = Neg(x) {body} }}")
    found = activation_behind(model.graph[0].outputs[0])
    if expected is None:
        assert found is None
    else:
        function, value = found
        assert value.name == output
        np.testing.assert_allclose(function(np.array([[-2.0, 3.0]]))[0], expected, rtol=1e-7)
