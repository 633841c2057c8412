"""Moments from BatchNorm statistics, against closed forms, other quadratures and sampling."""

import math

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from tests.passes.helpers import build_model
from zqc.calibration.analytic_moments import analytic_moments
from zqc.statistics.batchnorm import LayerStatistics

MEAN = np.array([0.0, 1.0, -1.0, 3.0, -4.0, 0.5, 20.0])
DEVIATION = np.array([1.0, 0.5, 2.0, 4.0, 1.0, 0.0, 9.0])
SIX = 6.0


def moments(body, *, extra=(), outputs="float[n,c,h,w] y", **arrays):
    """Moments of a graph whose tensor ``a`` is normal, and the graph."""
    channels = len(MEAN)
    weight = np.zeros((channels, channels, 1, 1), np.float32)
    text = f"(float[1,{channels},4,4] x) => ({outputs}) {{ a = Conv(x, w) {body} }}"
    model = build_model(text, w=weight, **arrays)
    layers = [LayerStatistics("a", MEAN, DEVIATION), *extra]
    return analytic_moments(model, layers), model


def phi(x):
    """Density of the standard normal distribution."""
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def cumulative(x):
    """Its distribution function."""
    return 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def below(bound, mean, deviation):
    """E and E² of max(X, bound)-like terms: ∫ over X < bound of 1, X, X²."""
    z = (bound - mean) / deviation
    zero = cumulative(z)
    one = mean * zero - deviation * phi(z)
    two = (mean**2 + deviation**2) * zero - deviation * (mean + bound) * phi(z)
    return zero, one, two


def clipped_normal(mean, deviation, low, high):
    """First two moments of clip(X, low, high), closed form."""
    p_low, m_low, s_low = below(low, mean, deviation)
    p_high, m_high, s_high, cut = 1.0, mean, mean**2 + deviation**2, np.zeros(mean.shape)
    if not math.isinf(high):
        p_high, m_high, s_high = below(high, mean, deviation)
        cut = high * (1 - p_high)
    second = low**2 * p_low + s_high - s_low
    second[cut > 0] += high * cut[cut > 0]
    return low * p_low + m_high - m_low + cut, second


@pytest.mark.parametrize(
    ("body", "high"), [("y = Relu(a)", math.inf), ("y = Clip(a, zero, six)", SIX)]
)
def test_relu_and_relu6_against_the_closed_form(body, high):
    """The clipped normal distribution, to 10⁻⁴ of the deviation."""
    arrays = {"zero": 0.0, "six": SIX} if "Clip" in body else {}
    found = moments(body, **arrays)[0]["y"]
    alive = DEVIATION > 0
    mean, deviation = MEAN[alive], DEVIATION[alive]
    first, second = clipped_normal(mean, deviation, 0.0, high)
    np.testing.assert_allclose(found.mean[alive] / deviation, first / deviation, atol=1e-4)
    np.testing.assert_allclose(found.second_moment[alive], second, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.mean[~alive], np.clip(MEAN[~alive], 0, high))


def test_leaky_relu_against_the_closed_form():
    """α·x + (1 − α)·relu(x)."""
    found = moments("y = LeakyRelu<alpha=0.1>(a)")[0]["y"]
    alive = DEVIATION > 0
    mean, deviation = MEAN[alive], DEVIATION[alive]
    first, second = clipped_normal(mean, deviation, 0.0, math.inf)
    negative = mean**2 + deviation**2 - second
    np.testing.assert_allclose(found.mean[alive], 0.1 * mean + 0.9 * first, atol=1e-4)
    np.testing.assert_allclose(found.second_moment[alive], second + 0.01 * negative, rtol=1e-4)


SPELLINGS = {
    "SiLU": "s = Sigmoid(a) y = Mul(a, s)",
    "SiLU, the other way round": "s = Sigmoid(a) y = Mul(s, a)",
    "hard-swish": "y = HardSwish(a)",
    "hard-swish, spelled out": "s = HardSigmoid<alpha=0.16666667, beta=0.5>(a) y = Mul(a, s)",
    "GELU": "y = Gelu(a)",
    "GELU, tanh": 'y = Gelu<approximate="tanh">(a)',
    "GELU, spelled out": "d = Div(a, root) e = Erf(d) p = Add(e, one) m = Mul(a, p) "
    "y = Mul(m, half)",
    "Sigmoid": "y = Sigmoid(a)",
    "Tanh": "y = Tanh(a)",
    "ELU": "y = Elu<alpha=0.7>(a)",
    "Mish": "y = Mish(a)",
    "Mish, spelled out": "p = Softplus(a) t = Tanh(p) y = Mul(a, t)",
    "PReLU": "y = PRelu(a, slopes)",
    "constants": "m = Mul(a, slopes) d = Sub(one, m) n = Neg(d) y = Abs(n)",
}


@pytest.mark.parametrize("body", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_activations_against_the_reference_evaluator(body):
    """ONNX's own definition of each operator, integrated on a grid ten times as fine."""
    arrays = {
        "root": math.sqrt(2.0),
        "one": 1.0,
        "half": 0.5,
        "slopes": np.linspace(0.1, 2, len(MEAN)).astype(np.float32).reshape(-1, 1, 1),
    }
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    found, model = moments(body, **{k: v for k, v in arrays.items() if k in words})
    z = np.linspace(-7, 7, 5001)
    weights = phi(z) / phi(z).sum()
    samples = (MEAN[:, None] + DEVIATION[:, None] * z).astype(np.float32)[None, :, :, None]
    proto = ir.to_proto(model)
    (convolution,) = [node for node in proto.graph.node if node.op_type == "Conv"]
    proto.graph.node.remove(convolution)
    proto.graph.input[0].name = "a"
    shape = proto.graph.input[0].type.tensor_type.shape
    for dimension, size in zip(shape.dim, samples.shape, strict=True):
        dimension.dim_value = size
    del proto.graph.value_info[:]
    (values,) = ReferenceEvaluator(proto).run(["y"], {"a": samples})
    values = values[0, :, :, 0].astype(np.float64)
    scale = np.sqrt(values**2 @ weights) + 1e-3
    np.testing.assert_array_less(np.abs(found["y"].mean - values @ weights) / scale, 1e-4)
    np.testing.assert_allclose(found["y"].second_moment, values**2 @ weights, rtol=3e-4, atol=1e-5)
    near = np.abs(values[:, np.abs(z) <= 3]).max(axis=1)
    np.testing.assert_allclose(found["y"].channel_range, near, rtol=1e-2, atol=1e-3)


def test_reach_counts_deviations():
    """μ + kσ of a ReLU; the larger end of a tensor that is normal."""
    model = moments("y = Relu(a)")[1]
    found = analytic_moments(model, [LayerStatistics("a", MEAN, DEVIATION)], deviations=2)
    np.testing.assert_allclose(found["y"].channel_range, np.maximum(MEAN + 2 * DEVIATION, 0))
    np.testing.assert_allclose(found["a"].channel_range, np.abs(MEAN) + 2 * DEVIATION)


def test_stored_statistics_win():
    """A layer with statistics of its own has those, whatever is unknown before it."""
    extra = [LayerStatistics("y", MEAN + 1, DEVIATION + 1)]
    weight = np.ones((len(MEAN), len(MEAN), 1, 1), np.float32)
    found = moments("m = MaxPool<kernel_shape=[2,2]>(a) y = Conv(m, v)", extra=extra, v=weight)[0]
    np.testing.assert_allclose(found["y"].mean, MEAN + 1, atol=1e-12)
    assert "m" not in found


def test_unknown_tensors_are_absent():
    """Behind a MaxPool nothing is claimed until the next statistics; statistics may be too many."""
    extra = [LayerStatistics("gone", MEAN, DEVIATION)]
    body = "m = MaxPool<kernel_shape=[2,2]>(a) r = Relu(m) y = Concat<axis=1>(r, m)"
    assert moments(body, extra=extra)[0].keys() == {"a"}


def test_a_computed_bound_is_unknown():
    """A Clip whose bound is no constant is no function of one variable."""
    found = moments("m = ReduceMax<keepdims=0>(x) y = Clip(a, m)")[0]
    assert found.keys() == {"a"}
