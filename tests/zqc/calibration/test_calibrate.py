"""Calibration: from pictures to grids, as the recipe asks."""

import numpy as np
import pytest

from passes.analysis.quantization_points import QuantizationPoint
from tests.calibration import GivenBatches, plan_of
from tests.passes.helpers import build_model
from zqc.calibration.calibrate import bits_of, calibrate
from zqc.calibration.histogram import add, empty, without_outliers
from zqc.calibration.thresholds import choose_grid
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe

PLAIN = {
    "nonnegative": False,
    "first_last": False,
    "internal": False,
    "joined": False,
    "slightly_negative": False,
    "squashed_by": "",
}


def grids_of(model, points, batches, recipe):
    """Calibrate with few pictures."""
    with Silent().task("", 0) as task:
        return calibrate(model, points, GivenBatches(*batches), plan_of(recipe), task=task)


def noise(*shape, seed=0):
    """Normal numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def negated():
    """One operator: what is calibrated is its input."""
    return build_model("(float[n,3,8,8] x) => (float[n,3,8,8] y) { y = Neg(x) }")


@pytest.mark.parametrize(("act_bits", "first_last_bits"), [(8, 4), (4, 8), (4, 4)])
def test_grids_follow_points_and_recipe(act_bits, first_last_bits):
    """Tensors of a point share its grid; edges have bits of their own, insides of functions 8."""
    model = build_model("""(float[n,3,4,4] x) => (float[n,3,4,4] y) {
        a = Abs(x) b = Neg(a) c = Neg(b) d = Neg(c) y = Identity(b) e = Neg(d) }""")
    points = [
        QuantizationPoint(("x",), **PLAIN | {"first_last": True, "internal": True}),
        QuantizationPoint(("a",), **PLAIN | {"nonnegative": True}),
        QuantizationPoint(("b", "y"), **PLAIN),
        QuantizationPoint(("c",), **PLAIN | {"internal": True}),
        QuantizationPoint(("d",), **PLAIN | {"joined": True}),
    ]
    recipe = Recipe(act_bits=act_bits, first_last_bits=first_last_bits, uniform_bits=True)
    x = noise(2, 3, 4, 4)
    ranges = grids_of(model, points, [x], recipe)
    assert {name: (grid.bits, grid.signed) for name, grid in ranges.grids.items()} == {
        "x": (first_last_bits, True),
        "a": (act_bits, False),
        "b": (act_bits, True),
        "y": (act_bits, True),
        "c": (8, True),
        "d": (8, True),
    }
    assert ranges.grids["b"] == ranges.grids["y"]
    np.testing.assert_allclose(ranges.means["a"], np.abs(x).mean(axis=(0, 2, 3)), rtol=1e-6)


def test_an_edge_that_is_joined_is_an_edge():
    """What the last layers read has their bits, also where it is a Concat."""
    point = QuantizationPoint(("x",), **PLAIN | {"first_last": True, "joined": True})
    assert bits_of(point, Recipe(first_last_bits=4)) == 4


@pytest.mark.parametrize("wide", [0, 1])
def test_the_kind_that_reaches_further_decides(wide):
    """A thousandth of all values are ten times as large: they count where their kind is the few."""
    pictures, kinds = two_kinds(wide)
    assert grid_of_x(Batches(pictures)) == grid_of_x(GivenBatches(kinds[wide]))
    narrow = grid_of_x(GivenBatches(kinds[1 - wide]))
    assert grid_of_x(Batches(pictures)).exponent > narrow.exponent


@pytest.mark.parametrize("wide", [0, 1])
def test_below_8_bits_noise_does_not_decide(wide):
    """With 4-bit activations the grid is that of the synthesised pictures, be it wide or not."""
    recipe = Recipe(act_bits=4, threshold="mse", uniform_bits=True)
    pictures, kinds = two_kinds(wide)
    assert grid_of_x(Batches(pictures), recipe) == grid_of_x(GivenBatches(kinds[0]), recipe)


def two_kinds(wide):
    """A picture beside 64 of noise, one kind ten times as large; and the two kinds alone."""
    few, many = noise(1, 3, 8, 8), noise(64, 3, 8, 8, seed=1)
    kinds = [few, many]
    kinds[wide] = np.clip(10 * kinds[wide], -30, 30)
    together = np.concatenate(kinds)
    return ImageSet.of_tensors(together, "", synthesised=True, noise=len(many)), kinds


def grid_of_x(batches, recipe=None):
    """The grid of the input, from some pictures."""
    points = [QuantizationPoint(("x",), **PLAIN)]
    with Silent().task("", 0) as task:
        return calibrate(negated(), points, batches, plan_of(recipe), task=task).grids["x"]


@pytest.mark.parametrize("function", ["Sigmoid", "Softmax"])
def test_logits_are_seen_through_what_squashes_them(function):
    """Logits far below zero do not widen the grid of those that make a score."""
    model = build_model("(float[n,1,8,8] x) => (float[n,1,8,8] y) { y = Neg(x) }")
    x = 3 * noise(4, 1, 8, 8) - 20
    x[:, :, 0] = noise(4, 1, 8, seed=1)
    exponents = {}
    for squashed_by in ("", function):
        point = QuantizationPoint(("x",), **PLAIN | {"squashed_by": squashed_by})
        ranges = grids_of(model, [point], [x], Recipe(act_bits=4))
        exponents[squashed_by] = ranges.grids["x"].exponent
    assert exponents[function] + 2 <= exponents[""]


@pytest.mark.parametrize(
    ("options", "method", "p"),
    [
        ({"threshold": "none"}, "none", 2),
        ({"threshold": "mse"}, "mse", 2),
        ({"threshold": "mae"}, "mae", 2),
        ({"threshold": "lp", "lp": 7}, "lp", 7),
        ({"threshold": "kl"}, "kl", 2),
    ],
)
def test_the_threshold_is_that_of_the_recipe(options, method, p):
    """The grid is the one that the search finds by that error over what was seen."""
    x = noise(8, 3, 8, 8) ** 3
    ranges = grids_of(
        negated(), [QuantizationPoint(("x",), **PLAIN)], [x], Recipe(act_bits=4, **options)
    )
    expected = choose_grid(add(empty(), x), bits=4, signed=True, method=method, p=p)
    assert ranges.grids["x"] == expected


def test_thresholds_differ_by_their_error():
    """Over long tails, the larger the power the less is clipped, and none clips nothing."""
    x = noise(8, 3, 8, 8) ** 3
    exponents = [
        grids_of(
            negated(), [QuantizationPoint(("x",), **PLAIN)], [x], Recipe(act_bits=4, **options)
        )
        .grids["x"]
        .exponent
        for options in (
            {"threshold": "mae"},
            {"threshold": "mse"},
            {"threshold": "lp", "lp": 8},
            {"threshold": "none"},
        )
    ]
    assert exponents == sorted(exponents)
    assert exponents[0] < exponents[1] < exponents[-1]
    assert 2.0 ** exponents[-1] >= np.abs(x).max() > 2.0 ** (exponents[-1] - 1)


def test_outliers_are_left_out():
    """With a z-score, one value of a thousand does not count, and a threshold without search."""
    x = noise(4, 3, 8, 8)
    x[0, 0, 0, 0] = 1000
    points = [QuantizationPoint(("x",), **PLAIN)]
    kept, left = (
        grids_of(negated(), points, [x], Recipe(threshold="none", z_score=z)).grids["x"]
        for z in (None, 10.0)
    )
    assert kept.threshold == 1024
    assert left.threshold <= 8
    histogram = without_outliers(add(empty(), x), z=10.0)
    assert left == choose_grid(histogram, bits=8, signed=True, method="none")


@pytest.mark.parametrize("shift", ["none", "rule", "search"])
def test_shifts(shift):
    """Only tensors that reach a little below zero are shifted, and only where the recipe says."""
    model = build_model("""(float[n,3,8,8] x) => (float[n,3,8,8] y) {
        s = Sigmoid(x) y = Mul(x, s) }""")
    x = 4 * noise(4, 3, 8, 8)
    points = [
        QuantizationPoint(("y",), **PLAIN | {"slightly_negative": True}),
        QuantizationPoint(("x",), **PLAIN),
    ]
    grids = grids_of(model, points, [x], Recipe(shift=shift)).grids
    silu = x / (1 + np.exp(-x))
    found = grids["y"]
    assert grids["x"].signed
    assert found.signed == (shift == "none")
    assert (found.shift > 0) == (shift != "none")
    assert found.shift % 2 == 0  # an odd zero point of 8 bits rounds differently on kernels
    if shift == "rule":
        assert found.bounds[0] <= silu.min() < found.bounds[0] + 2 * found.scale
    histogram = add(empty(), silu)
    assert found == choose_grid(histogram, bits=8, signed=True, shift=shift)


def test_a_search_of_shifts_loses_less():
    """At 4 bits each way of shifting leaves less error than the one before."""
    model = build_model("""(float[n,3,8,8] x) => (float[n,3,8,8] y) {
        s = Sigmoid(x) y = Mul(x, s) }""")
    x = 4 * noise(4, 3, 8, 8)
    points = [QuantizationPoint(("y",), **PLAIN | {"slightly_negative": True})]
    silu = x / (1 + np.exp(-x))
    errors = []
    for shift in ("none", "rule", "search"):
        grid = grids_of(model, points, [x], Recipe(act_bits=4, shift=shift)).grids["y"]
        errors.append(float(np.mean((grid.nearest(silu) - silu) ** 2)))
    assert errors[0] > errors[1]
    assert errors[2] <= errors[1] * 1.01  # the search sees bins, not values


def test_sensitivities_weight_the_errors():
    """Where only the small channel matters to the output, the grid fits that channel."""
    model = build_model(
        "(float[n,2,128,128] x) => (float[n,1,128,128] y) { a = Neg(x) y = Conv(a, w) }",
        w=np.float32([[[[1]], [[1e-4]]]]),
    )
    x = noise(16, 2, 128, 128) * np.float32([1, 6]).reshape(2, 1, 1)
    points = [QuantizationPoint(("a",), **PLAIN)]
    plain, weighted = (
        grids_of(model, points, [x], Recipe(act_bits=4, threshold=threshold)).grids["a"]
        for threshold in ("mse", "sensitivity")
    )
    assert weighted.exponent < plain.exponent
