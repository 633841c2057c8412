"""Which activations have 8 bits where the others have 4."""

import numpy as np
import pytest

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from tests.passes.helpers import build_model
from tests.zqc.calibration.test_calibrate import PLAIN, grids_of, noise
from zqc.calibration.activation_bits import in_need_of_bits
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.histogram import add, empty
from zqc.calibration.sensitivity import Sensitivity
from zqc.recipe.recipe import Recipe

SHARE = 0.03
"""By which all activations may have more bits."""

COARSE, FINE = Grid(2, 4, signed=True), Grid(2, 8, signed=True)


def chosen(sizes, fisher, *, internal=()):
    """Points t0, t1, … of so many normal values, with the sum of their Fisher diagonals."""
    names = [f"t{i}" for i in range(len(sizes))]
    points = [
        QuantizationPoint((name,), **PLAIN | {"internal": name in internal}) for name in names
    ]
    tensors, sensitivities = {}, {}
    for name, size, weight in zip(names, sizes, fisher, strict=True):
        histogram = add(empty(), noise(1, size))
        tensors[name] = TensorStatistics((histogram,), np.zeros(1))
        if weight is not None:
            sensitivities[name] = Sensitivity(empty(), empty(), np.array([weight]))
    return in_need_of_bits(
        points,
        dict.fromkeys(names, COARSE),
        {name: FINE for name in names if name not in internal},
        tensors,
        sensitivities,
        share=SHARE,
    )


def test_those_that_gain_most_for_their_size_come_first():
    """A small tensor before one of ten times its size that gains five times as much."""
    assert chosen([100, 1000, 100, 100_000], [1.0, 5.0, 2.0, 1.0]) == ("t2", "t0", "t1")


def test_together_they_stay_within_the_room():
    """Twice the bits for as many values as the room is, and not for one more."""
    rest = int(1000 / SHARE) + 1
    assert chosen([500, 500, rest - 1000], [3.0, 2.0, 0.01]) == ("t0", "t1")
    assert chosen([500, 501, rest - 1001], [3.0, 2.0, 0.01]) == ("t0",)


def test_insides_of_functions_make_no_room():
    """What is written nowhere is no reason to write more elsewhere."""
    assert chosen([100, 100, 100_000], [1.0, 1.0, 1.0], internal={"t2"}) == ()


def test_a_tensor_without_values_needs_none():
    """As one behind an NMS that finds nothing."""
    assert chosen([0, 100, 100_000], [1.0, 1.0, 1.0]) == ("t1",)


@pytest.mark.parametrize("fisher", [0.0, None])
def test_what_the_outputs_do_not_depend_on_needs_no_bits(fisher):
    """No gradient, or none that is known."""
    assert chosen([100, 100_000], [fisher, 1.0]) == ()


@pytest.mark.parametrize(("uniform", "bits"), [(False, 8), (True, 4)])
def test_calibration_gives_them_a_finer_grid(uniform, bits):
    """A small tensor that all of the output comes from, and as many bits for all if asked for."""
    model = build_model("""(float[n,3,64,64] x) => (float[n,3,64,64] y)
        <int64[1] s = {1}, int64[2] axes = {2, 3}> {
        a = Abs(x) b = GlobalAveragePool(a) c = Neg(b) y = Mul(a, c) }""")
    points = [QuantizationPoint((name,), **PLAIN) for name in ("x", "a", "b", "c")]
    recipe = Recipe(act_bits=4, uniform_bits=uniform)
    ranges = grids_of(model, points, [noise(4, 3, 64, 64)], recipe)
    assert {name: grid.bits for name, grid in ranges.grids.items()} == {
        "x": 4,
        "a": 4,
        "b": bits,
        "c": bits,
    }
    assert set(ranges.finer) == (set() if uniform else {"b", "c"})
