"""Between a layer and its activation function the grid ends where little is left of the values."""

from dataclasses import replace

import numpy as np
import pytest

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from passes.graph import values_by_name
from tests.passes.helpers import build_model
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.distances import mean_error
from zqc.calibration.histogram import add, empty
from zqc.calibration.inside_activations import inside_activations, shifted_before
from zqc.targets import find

FUNCTIONS = {
    "SiLU": ("s = Sigmoid(a) y = Mul(a, s)", lambda x: x / (1 + np.exp(-x))),
    "LeakyRelu": ("y = LeakyRelu<alpha=0.01>(a)", lambda x: np.where(x < 0, 0.01 * x, x)),
    "PRelu": ("y = PRelu(a, one)", lambda x: np.where(x < 0, 0.02 * x, x)),
}
GRID = Grid(4, 8, signed=True)
BEHIND = Grid(3, 8, signed=False, shift=20)
"""From −16 to 16, and up to 7.3."""
SHAPE = "float[n,3,8,8]"


def seen(scale=1.0, seed=0):
    """Values that reach further below zero than above, as they do before SiLU."""
    x = np.random.default_rng(seed).normal(size=20000) * 2.5 - 3
    return np.clip(scale * x, -13, 6).astype(np.float32)


def histogram(values):
    """Of such values."""
    return add(empty(), values)


def points_of(model, *, internal=True):
    """The points of the tensor before the function and of its output, and what was seen."""
    shapes = {"nonnegative": False, "first_last": False, "joined": False, "squashed_by": ""}
    points = [
        QuantizationPoint(("a",), **shapes, internal=internal, slightly_negative=False),
        QuantizationPoint(("y",), **shapes, internal=False, slightly_negative=True),
    ]
    kinds = (histogram(seen()), histogram(seen(0.8, seed=1)))
    return values_by_name(model.graph), points, {"a": TensorStatistics(kinds, np.zeros(1))}


def model_with(body):
    """A layer's output, and what reads it."""
    slopes = "<float[1] one = {0.02}, float[3,1,1] three = {0.1, 0.2, 0.3}>"
    return build_model(f"(float[n,3,8,8] x) => (float[n,3,8,8] y) {slopes} {{ a = Neg(x) {body} }}")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_result_comes_nearer(name):
    """Half the step, less than half of the squared error behind the function, for either kind."""
    body, function = FUNCTIONS[name]
    values, points, tensors = points_of(model_with(body))
    found = inside_activations(values, points, {"a": GRID, "y": BEHIND}, tensors, find("ort-x86"))
    assert list(found) == ["a"]
    assert (found["a"].signed, found["a"].scale) == (False, GRID.scale / 2)
    for x in (seen().astype(np.float64), seen(0.8, seed=1).astype(np.float64)):
        errors = [
            np.square(function(g.nearest(x)) - function(x)).mean() for g in (GRID, found["a"])
        ]
        assert errors[1] < errors[0] / 2


@pytest.mark.parametrize(
    ("body", "target", "options"),
    [
        ("y = LeakyRelu<alpha=0.01>(a)", "symmetric", {}),
        ("y = LeakyRelu<alpha=0.01>(a)", "ort-x86", {"internal": False}),
        ("y = Relu(a)", "ort-x86", {}),
        ("y = PRelu(a, three)", "ort-x86", {}),
        ("b = LeakyRelu(a) y = Add(a, b)", "ort-x86", {}),
    ],
)
def test_what_is_left_as_it_is(body, target, options):
    """Where zero points are 0, outside of functions, and before other functions."""
    values, points, tensors = points_of(model_with(body), **options)
    grids = {"a": GRID, "y": BEHIND}
    assert inside_activations(values, points, grids, tensors, find(target)) == {}


@pytest.mark.parametrize("other", [BEHIND, Grid(4, 8, signed=False, shift=20)])
def test_halves_of_a_tensor(other):
    """What two functions read is shifted where both want the same: here they end apart, or not."""
    halves = "y = LeakyRelu(a) b = Neg(x) z = LeakyRelu(b)"
    model = build_model(f"({SHAPE} x) => ({SHAPE} y, {SHAPE} z) {{ a = Neg(x) {halves} }}")
    _, (point, *_), tensors = points_of(model)
    values, both = values_by_name(model.graph), replace(point, names=("a", "b"))
    grids = {"a": GRID, "b": GRID, "y": BEHIND, "z": other}
    found = inside_activations(values, [both], grids, tensors, find("ort-x86"))
    assert bool(found) == (other == BEHIND)
    assert len(set(found.values())) == len(found) // 2


def test_no_peak_is_cut_off_that_is_kept_behind():
    """However rare: what is found has the largest values. What is lost behind may be lost here."""
    kinds = [histogram(np.append(seen(), np.float32(7.3)))]
    for behind in (BEHIND, Grid(2, 8, signed=False, shift=8)):
        found = shifted_before(GRID, kinds, FUNCTIONS["SiLU"][1], behind)
        assert not found.signed
        assert found.bounds[1] >= behind.bounds[1]


def test_no_kind_gets_worse_and_the_worst_gains_most():
    """Of all grids that reach as far, none has a smaller largest share of the errors."""
    function = FUNCTIONS["SiLU"][1]
    kinds = [histogram(seen()), histogram(seen(0.5, seed=2))]

    def share(grid):
        pairs = ((mean_error(k, grid, seen_through=function), k) for k in kinds)
        return max(e / mean_error(k, GRID, seen_through=function) for e, k in pairs)

    found = shifted_before(GRID, kinds, function, BEHIND)
    others = [
        Grid(exponent, 8, signed=False, shift=shift)
        for exponent in range(0, 6)
        for shift in range(0, 129, 2)
    ]
    reaching = [grid for grid in others if grid.bounds[1] >= BEHIND.bounds[1]]
    assert share(found) <= 1.001 * min(map(share, reaching))
    assert share(found) < 1


def test_a_tensor_without_values_keeps_its_grid():
    """Nothing is known of it."""
    assert shifted_before(GRID, [empty()], np.tanh, BEHIND) == GRID
