"""Which tensors of detectors with queries stay in float."""

import numpy as np
import pytest

from passes.analysis.coordinates import coordinate_values
from passes.analysis.quantization_points import quantization_points
from tests.passes.helpers import build_model

RNG = np.random.default_rng(0)
ARRAYS = {
    "w": RNG.normal(size=(8, 8)).astype(np.float32),
    "w_one": RNG.normal(size=(8, 1)).astype(np.float32),
    "w_two": RNG.normal(size=(8, 2)).astype(np.float32),
    "w_up": RNG.normal(size=(2, 8)).astype(np.float32),
    "kernel": RNG.normal(size=(8, 8, 1, 1)).astype(np.float32),
    "bins": RNG.normal(size=(2, 8, 16)).astype(np.float32),
    "steps": np.arange(8, dtype=np.float32),
    "two": 2.0,
    "one": 1.0,
    "k": np.array([5]),
    "all": np.array([-1]),
    "axis": np.array([2]),
    "as_rows": np.array([1, 9, 1, 2]),
    "as_bins": np.array([9, 2, 8]),
    "as_points": np.array([1, 9, 1, 2]),
}
HEAD = "(float[1,9,8] x, float[1,4,6,6] f) => (float[1,4,9,8] y)"
SAMPLE = "s = GridSample(f, g)  y = MatMul(s, w_end)"


def model_of(body, head=HEAD, **more):
    """A graph of the constants that it reads."""
    arrays = {**ARRAYS, "w_end": np.ones((1, 8), np.float32), **more}
    used = {
        name: a for name, a in arrays.items() if any(e in body for e in (f"{name})", f"{name},"))
    }
    return build_model(f"{head} {{ {body} }}", opset=20, **used)


def found(model):
    """Names of the coordinates, and of the tensors on a grid."""
    points = quantization_points(model.graph)
    return (
        {value.name for value in coordinate_values(model.graph)},
        {name for point in points for name in point.names},
    )


def test_places_to_sample_are_float_back_to_their_layer():
    """Offset, sum, scale and layout up to the grid of GridSample; the features have grids."""
    model = model_of(f"""
        h = MatMul(x, w)  a = Relu(h)
        d = MatMul(a, w_two)
        e = Sigmoid(d)  t = Mul(e, two)  m = Sub(t, one)
        g = Reshape(m, as_rows)
        {SAMPLE}""")
    coordinates, quantized = found(model)
    assert coordinates == {"d", "e", "t", "m", "g"}
    assert quantized >= {"x", "f", "a", "s"}
    assert not quantized & coordinates


def test_a_layer_that_embeds_a_place_has_it_on_a_grid_of_its_own():
    """Only the layer reads the rounded reference point, and that of its sine."""
    model = model_of("""
        r = MatMul(x, w_two)  p = Sigmoid(r)
        g = Reshape(p, as_rows)
        q = Mul(p, two)  z = Sin(q)
        u = MatMul(z, w_up)  v = MatMul(p, w_up)
        n = Add(u, v)
        s = GridSample(f, g)  j = MatMul(n, w)
        i = Unsqueeze(j, all)  o = MatMul(s, w_end)
        k2 = Transpose<perm=[0, 3, 1, 2]>(i)
        y = Add(o, k2)""")
    coordinates, quantized = found(model)
    assert coordinates >= {"r", "p", "g", "q", "z"}
    assert quantized & coordinates == {"z", "p"}


SELECTION = """
    c = MatMul(x, w)  m = ReduceMax<keepdims=0>(c, all)
    v, i = TopK<axis=1>(m, k)
    j = Unsqueeze(i, all)  t = Expand(j, wide)
    b = GatherElements<axis=1>(x, t)  y = MatMul(b, w_two)
"""


def test_scores_that_select_queries_are_float():
    """The class scores before TopK; the queries that it selects stay on their grid."""
    model = model_of(SELECTION, "(float[1,9,8] x) => (float[1,5,2] y)", wide=np.array([1, 5, 8]))
    coordinates, quantized = found(model)
    assert coordinates >= {"c", "m"}
    assert quantized >= {"x", "b"}
    assert not quantized & coordinates


def test_the_expectation_over_bins_is_one_of_them():
    """Bins, their Softmax and their mean decode a box, wherever they stand."""
    model = model_of(
        f"""
        l = MatMul(x, w_bins)  r = Reshape(l, as_bins)
        p = Softmax<axis=-1>(r)  e = MatMul(p, steps)
        g = Reshape(e, as_points)
        {SAMPLE}""",
        w_bins=np.ones((8, 16), np.float32),
    )
    coordinates, quantized = found(model)
    assert coordinates == {"l", "r", "p", "e", "g"}
    assert not quantized & coordinates


def test_features_that_also_place_something_are_quantized():
    """What is multiplied with features on another way is no coordinate; its maximum is."""
    model = model_of(
        """
        a = MatMul(x, w)  h = Relu(a)
        m = ReduceMax<keepdims=0>(h, all)  v, i = TopK<axis=1>(m, k)
        n = Mul(h, x)  b = Gather<axis=1>(n, zero)  y = MatMul(b, w_two)
        z = Cast<to=1>(i)  o = MatMul(z, w_end)
        """,
        "(float[1,9,8] x) => (float[1,8] o, float[1,2] y)",
        w_end=np.ones((5, 8), np.float32),
        zero=np.array(0),
    )
    coordinates, quantized = found(model)
    assert "m" in coordinates
    assert "h" in quantized
    assert not {"a", "h", "n"} & coordinates


def test_the_result_of_a_conv_keeps_its_grid():
    """It would run in float without; what comes behind is float."""
    model = model_of(
        """
        c = Conv(x, kernel)  r = Relu(c)
        m = ReduceMax<keepdims=0>(r, axes)
        v, i = TopK<axis=1>(m, k)
        z = Cast<to=1>(i)  y = MatMul(z, w_end)
        """,
        "(float[1,8,5,5] x) => (float[1,8] y)",
        w_end=np.ones((5, 8), np.float32),
        axes=np.array([2, 3]),
    )
    coordinates, quantized = found(model)
    assert "m" in coordinates
    assert quantized >= {"x", "r"}
    assert not {"c", "r"} & coordinates


@pytest.mark.parametrize(("op", "has_grid"), [("MatMul", False), ("Conv", True)])
def test_what_the_post_processing_alone_reads(op, has_grid):
    """A matrix product hands over floats; a Conv needs a grid to run on integers."""
    if op == "MatMul":
        head, body = "(float[1,9,8] x) => (float[1,9,8] y)", "m = MatMul(x, w)  y = Sigmoid(m)"
    else:
        head, body = (
            "(float[1,8,3,3] x) => (float[1,8,3,3] y)",
            "m = Conv(x, kernel)  y = Sigmoid(m)",
        )
    coordinates, quantized = found(model_of(body, head))
    assert ("m" in coordinates) is not has_grid
    assert ("m" in quantized) is has_grid


def test_networks_without_queries_have_none():
    """Convolutions, attention and residual sums."""
    model = model_of(
        """
        q = MatMul(x, w)  t = Transpose<perm=[0, 2, 1]>(x)  l = MatMul(q, t)
        p = Softmax(l)  v = MatMul(p, x)  r = Add(v, x)  y = MatMul(r, w)
        """,
        "(float[1,9,8] x) => (float[1,9,8] y)",
    )
    assert not coordinate_values(model.graph)
