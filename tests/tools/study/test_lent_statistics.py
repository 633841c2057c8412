"""Scales are paired by where they stand."""

from tests.passes.helpers import build_model
from tools.study.lent_statistics import compared, scales

NET = """(float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3,4,4] z)
    <float s = {0.25}, float t = {0.5}, float u = {2}, uint8 zero = {0}> {
    q = QuantizeLinear(x, s, zero)
    d = DequantizeLinear(q, s, zero)
    r = Relu(d)
    LEFT
    RIGHT
}"""
LEFT = "a = QuantizeLinear(r, t, zero)\n y = DequantizeLinear(a, t, zero)"
RIGHT = "b = QuantizeLinear(d, u, zero)\n z = DequantizeLinear(b, u, zero)"


def test_order_of_nodes_does_not_matter():
    """From the first output back, whatever stands first in the file."""
    for first, second in ((LEFT, RIGHT), (RIGHT, LEFT)):
        model = build_model(NET.replace("LEFT", first).replace("RIGHT", second), opset=13)
        assert scales(model) == [0.5, 0.25, 2.0]


def test_what_is_said():
    """Steps are powers of two."""
    assert compared([1, 2, 4, 8], [1, 2, 2, 8]).startswith("1 of 4 tensors (25.0%)")
    assert compared([1.0, 8.0], [1.0, 1.0]).endswith("by at most 3")
    assert "not written alike" in compared([1.0], [])
