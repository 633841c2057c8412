"""Where operators carry the channels of their inputs, and which do."""

import math

import numpy as np
import pytest

from passes.analysis.channel_flow import flow, upper_bound

CARRIED = {
    "y = Relu(x)": [10, 11, 12, 13],
    "y = MaxPool<kernel_shape=[2,2]>(x)": [10, 11, 12, 13],
    "y = Clip(x, zero, six)": [10, 11, 12, 13],
    "y = Resize<mode='nearest'>(x, , sizes)": [10, 11, 12, 13],
    "y = Concat<axis=1>(x, other)": [10, 11, 12, 13, 20, 21],
    "y = Slice(x, one, three, one)": [11, 12],
    "y = Mul(x, six)": [10, 11, 12, 13],
}
STOPPED = (
    "y = Sigmoid(x)",
    "y = Clip(x, six, six)",
    "y = Add(x, six)",
    "y = Softmax(x)",
    "y = Concat<axis=2>(x, permuted)",
    "y = Mul(x, x)",
)
NUMBERS = {"x": [10, 11, 12, 13], "other": [20, 21], "permuted": [13, 12, 11, 10]}


def last(build, body):
    """The last node of a body on tensors of four, two and four channels."""
    arrays = {
        "zero": 0.0,
        "six": 6.0,
        "sizes": np.float32([1, 1, 2, 2]),
        "one": np.array([1]),
        "three": np.array([3]),
    }
    inputs = "float[1,4,2,2] x, float[1,2,2,2] other, float[1,4,2,2] permuted"
    model = build(f"({inputs}) => (float[n,c,h,w] y) {{ {body} }}".replace("'", '"'), **arrays)
    return model.graph[-1]


def flowed(node):
    """Where it carries the numbers of its inputs."""
    names = [None if value is None else value.name for value in node.inputs]
    return flow(node, [np.array(NUMBERS[name]) if name in NUMBERS else None for name in names])


@pytest.mark.parametrize("body", CARRIED)
def test_what_carries_channels(build, body):
    """Each output channel has the number of the input channel that it is computed from."""
    (found,) = flowed(last(build, body))
    assert found.tolist() == CARRIED[body]


@pytest.mark.parametrize("body", STOPPED)
def test_what_stops_them(build, body):
    """f(s·x) is not s·f(x), channels mix, or two tensors of unlike channels meet."""
    assert flowed(last(build, body)) is None


def test_what_a_gemm_reads(build):
    """A flattened tensor has the number of each channel once for each of its pixels."""
    model = build("(float[1,4,2,2] x) => (float[n,c] y) { y = Flatten(x) }")
    (found,) = flow(model.graph[0], [np.array(NUMBERS["x"])])
    assert found.tolist() == np.repeat(NUMBERS["x"], 4).tolist()


def test_both_parts_of_a_split(build):
    """Each part has the numbers of its own channels."""
    results = "float[n,a,h,w] y, float[n,b,h,w] z"
    text = f"(float[1,4,2,2] x) => ({results}) {{ y, z = Split<axis=1>(x, at) }}"
    model = build(text, at=np.array([1, 3]))
    found = flow(model.graph[0], [np.array(NUMBERS["x"]), None])
    assert [numbers.tolist() for numbers in found] == [[10], [11, 12, 13]]


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        ("y = Clip(x, zero, six)", 6.0),
        ("y = Clip(x, zero)", math.inf),
        ("y = Clip(x, six, six)", None),
        ("y = Relu(x)", None),
    ],
)
def test_the_upper_bound_of_a_clip_from_zero(build, body, bound):
    """H of Clip(0, h), infinite where it has none."""
    assert upper_bound(last(build, body)) == bound
