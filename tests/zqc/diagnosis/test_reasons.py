"""What is out of order with a layer, in words."""

import numpy as np
import pytest

from passes.analysis.topology import weighted_layers
from passes.layers import layer_of
from tests.passes.helpers import build_model
from zqc.diagnosis.counterparts import Match
from zqc.diagnosis.quantized_model import QuantizedLayer, Rounding
from zqc.diagnosis.reasons import finding, is_equalized, weights_db
from zqc.diagnosis.transplant import Placed

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 4, 1, 1)).astype(np.float32)
VALUES = RNG.uniform(0, 1, 5000).astype(np.float32)


def match(weight=WEIGHT, bias=0.0, bits=8):
    """A layer without bias, and what became of it."""
    text = "(float[1,4,4,4] x) => (float[1,6,4,4] y) { y = Conv(x, w) }"
    node = weighted_layers(build_model(text, w=WEIGHT).graph)[0]
    array = np.asarray(weight, np.float64)
    quantized = QuantizedLayer(node, array, None, bits, None)
    return Match(layer_of(node), quantized, "name", array, np.full(6, bias), np.ones(6))


def place(step=1 / 256, back=None, low=0, high=255):
    """A rounding of the layer's output."""
    steps = np.array([step]), np.zeros(1), np.array([step if back is None else back]), np.zeros(1)
    return Placed("y", Rounding("q", "y", *steps, low, high))


def found(layer=None, *places):
    """What is said of them."""
    return finding(layer or match(), places, {"y": VALUES}, "y")


def test_nothing_is_said_of_what_is_in_order():
    """Rounded weights and a grid that fits."""
    rounded = np.rint(WEIGHT * 64) / 64
    assert found(match(rounded), place()).reasons == ()


@pytest.mark.parametrize(
    ("layer", "places", "said"),
    [
        (match(8 * WEIGHT), (), "its weights are 8 times those of the float model"),
        (match(WEIGHT / 8), (), "its weights are 1/8 of those of the float model"),
        (match(WEIGHT[::-1]), (), "channel 0 of the float model is channel 5 here"),
        (match(RNG.normal(size=WEIGHT.shape)), (), "its weights"),
        (match(), (place(1 / 32),), "the scale of its output is 7.97 times"),
        (match(), (place(1 / 2048),), "its output is clipped: 87 % of its values are outside"),
        (match(), (place(back=1 / 32),), "quantized with one scale and dequantized with 8 times"),
    ],
)
def test_what_is_wrong_is_said(layer, places, said):
    """With the number that shows it."""
    result = found(layer, *places)
    assert said in result.reasons[0]
    assert result.severe
    assert not result.of_bias


def test_weights_of_another_layer_are_known():
    """By the layer that they belong to."""
    text = "(float[1,4,4,4] x) => (float[1,6,4,4] y) { y = Conv(x, w) }"
    strange = RNG.normal(size=WEIGHT.shape).astype(np.float32)
    other = layer_of(weighted_layers(build_model(text, w=strange).graph)[0])
    result = finding(match(strange), (), {"y": VALUES}, "y", [match().layer, other])
    assert result.reasons == ("its weights are those of make_y: layers or heads were swapped",)


def test_a_wrong_bias_alone_is_known_as_such():
    """Off by more than a quarter of the deviation of the output."""
    result = found(match(bias=0.5))
    assert "its bias is off by 0.5" in result.reasons[0]
    assert result.of_bias
    assert found(match(bias=0.01)).reasons == ()


def test_headroom_is_no_fault():
    """A grid of twice the range costs 6 dB, and is made on purpose."""
    assert found(match(), place(2 / 256)).reasons == ()


def test_sqnr_of_weights():
    """Half of a weight missing is 6 dB."""
    assert weights_db(match().layer, WEIGHT / 2) == pytest.approx(6.02, abs=0.01)


def rounded(weight):
    """Weights on the grid of 8 bits of each output channel."""
    step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    return np.rint(weight / step) * step


OUT = 2.0 ** RNG.uniform(-2, 2, (6, 1, 1, 1))
INTO = 2.0 ** RNG.uniform(-2, 2, (1, 4, 1, 1))


@pytest.mark.parametrize("factors", [OUT, INTO, OUT * INTO], ids=["out", "in", "both"])
def test_factors_of_channels_are_equalization(factors):
    """Of output channels, of input channels, or of both: nobody can say what is wrong then."""
    layer = match(rounded(factors * WEIGHT))
    assert is_equalized(layer)
    assert found(layer, place(1 / 32)).reasons == ()


@pytest.mark.parametrize(
    "weight",
    [
        rounded(WEIGHT),
        rounded(8 * WEIGHT),  # one factor for all
        rounded(WEIGHT / 8),
        rounded(WEIGHT[::-1]),  # permuted channels
        rounded(WEIGHT[:, ::-1]),
        rounded(RNG.normal(size=WEIGHT.shape)),  # another layer's
        np.zeros_like(WEIGHT),
    ],
    ids=["same", "large", "small", "turned", "turned inputs", "strange", "zero"],
)
def test_what_is_no_equalization(weight):
    """A scale that is off, another order, or other weights are not made of factors."""
    assert not is_equalized(match(weight))


def test_factors_that_hardly_differ_are_no_equalization():
    """A twentieth of an octave is rounding; a tenth and more is meant."""
    spread = np.array([-1, 1, -1, 1, -1, 1]).reshape(6, 1, 1, 1)
    assert not is_equalized(match(rounded(2.0 ** (0.04 * spread) * WEIGHT)))
    assert is_equalized(match(rounded(2.0 ** (0.2 * spread) * WEIGHT)))


def test_what_is_certain():
    """Weights that are others, a grid 8 times too wide, or clipped by more than a fifth."""
    assert found(match(8 * WEIGHT)).certain
    assert found(match(), place(1 / 28)).certain  # 9 times too wide
    assert not found(match(), place(1 / 40)).certain  # 6 times
    assert found(match(), place(1 / 2048)).certain
    assert not found(match(), place(1 / 280)).certain  # 9 % are cut off
    assert not found(match(bias=0.5)).certain
