"""Which tensors belong to a layer."""

import numpy as np

from passes.analysis.topology import weighted_layers
from tests.passes.helpers import build_model
from zqc.diagnosis.regions import bounds_of, own_tensors, own_values, tensors_until

NET = """(float[1,3,4,4] x) => (float[1,3,4,4] y) {
    a = Conv(x, w) s = Sigmoid(a) m = Mul(a, s)
    b = Conv(m, w) r = Clip(b, zero, six) t = Add(r, m) y = Conv(t, w)
}"""


def layers():
    """Three layers: one with SiLU, one with ReLU6 and a shortcut behind it, one bare."""
    model = build_model(NET, w=np.ones((3, 3, 1, 1), np.float32), zero=0.0, six=6.0)
    return model.graph, weighted_layers(model.graph)


def test_a_layer_owns_its_activation_function():
    """SiLU in parts does belong to it; the sum of a shortcut, which reads another, does not."""
    _, (first, second, third) = layers()
    assert [value.name for value in own_values(first)] == ["a", "s", "m"]
    assert [value.name for value in own_values(second)] == ["b", "r"]
    assert [value.name for value in own_values(third)] == ["y"]


def test_own_tensors_begin_with_the_input():
    """Of those that have a grid."""
    _, (_, second, _) = layers()
    assert own_tensors(second, {"m", "r", "x"}) == ("m", "r")


def test_tensors_until_a_layer_are_computed_by_then():
    """What comes later is none of them, and the input is."""
    graph, (_, second, third) = layers()
    assert tensors_until(graph, second, {"x", "m", "r", "t"}) == {"x", "m", "r"}
    assert tensors_until(graph, third, {"x", "t", "y"}) == {"x", "t", "y"}


def test_bounds_of_an_output():
    """A Clip and a ReLU bound it; nothing else does."""
    _, (first, second, _) = layers()
    assert bounds_of(first) == (-np.inf, np.inf)
    assert bounds_of(second) == (0.0, 6.0)
