"""How many bits each activation has, where all together have about as many as asked for."""

import numpy as np
import pytest

from passes.analysis.quantization_points import QuantizationPoint
from passes.arithmetic import Grid
from tests.passes.helpers import build_model
from tests.zqc.calibration.test_calibrate import PLAIN, grids_of, noise
from zqc.calibration.activation_bits import best_bits
from zqc.calibration.collect import TensorStatistics
from zqc.calibration.histogram import add, empty
from zqc.calibration.squared_gradients import Sensitivity
from zqc.recipe.recipe import Recipe

SHARE = 0.03
"""By which all activations may have more bits."""


def chosen(sizes, fisher, *, internal=(), widths=(4, 8)):
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
    choices = {bits: Grid(2, bits, signed=True) for bits in widths}
    return best_bits(
        points,
        dict.fromkeys(names, choices[4]),
        dict.fromkeys([name for name in names if name not in internal], choices),
        tensors,
        sensitivities,
        share=SHARE,
    )


def finer(bits):
    """Those with more than 4."""
    return {name for name, of in bits.items() if of > 4}


def test_those_that_gain_most_for_their_size_come_first():
    """Small tensors before one of ten times their size that gains five times as much."""
    assert finer(chosen([100, 1000, 100, 100_000], [1.0, 5.0, 2.0, 1.0])) == {"t0", "t1", "t2"}
    assert finer(chosen([100, 1000, 100, 30_000], [1.0, 5.0, 2.0, 1.0])) == {"t0", "t2"}


def test_together_they_stay_within_the_room():
    """Twice the bits for as many values as the room is, and not for one more."""
    rest = int(1000 / SHARE) + 1
    assert finer(chosen([500, 500, rest - 1000], [3.0, 2.0, 0.01])) == {"t0", "t1"}
    assert finer(chosen([500, 501, rest - 1001], [3.0, 2.0, 0.01])) == {"t0"}


def test_one_more_bit_for_many_before_four_for_one():
    """A bit takes away three quarters of the error, which the next three cannot any more."""
    bits = chosen([1000] * 4 + [32_000], [1.0] * 4 + [0.01], widths=(4, 5, 6, 7, 8))
    assert bits == {"t0": 5, "t1": 5, "t2": 5, "t3": 5, "t4": 4}


def test_what_costs_little_makes_room_for_others():
    """A tensor that nothing depends on has the fewest bits, and another more than the room is."""
    bits = chosen([1000, 1000], [1e-6, 1.0], widths=(3, 4, 5, 6))
    assert bits == {"t0": 3, "t1": 5}


def test_insides_of_functions_make_no_room():
    """What is written nowhere is no reason to write more elsewhere."""
    assert chosen([100, 100, 100_000], [1.0, 1.0, 1.0], internal={"t2"}) == {"t0": 4, "t1": 4}


def test_a_tensor_without_values_has_no_choice():
    """As one behind an NMS that finds nothing."""
    assert chosen([0, 100, 100_000], [1.0, 1.0, 1.0]) == {"t1": 8, "t2": 4}


@pytest.mark.parametrize("fisher", [0.0, None])
def test_what_the_outputs_do_not_depend_on_needs_no_bits(fisher):
    """No gradient, or none that is known."""
    assert finer(chosen([100, 100_000], [fisher, 1.0])) == set()


@pytest.mark.parametrize(
    ("uniform", "target", "bits"),
    [(False, "ort-x86", 8), (False, "portable", 8), (True, "ort-x86", 4)],
)
def test_calibration_gives_them_other_grids(uniform, target, bits):
    """A small tensor that all of the output comes from has what is left by the others.

    As many bits as all others if that is asked for, and only widths that the target stores.
    """
    model = build_model("""(float[n,3,64,64] x) => (float[n,3,64,64] y)
        <int64[1] s = {1}, int64[2] axes = {2, 3}> {
        a = Abs(x) b = GlobalAveragePool(a) c = Neg(b) y = Mul(a, c) }""")
    points = [QuantizationPoint((name,), **PLAIN) for name in ("x", "a", "b", "c")]
    recipe = Recipe(act_bits=4, uniform_bits=uniform, target=target)
    ranges = grids_of(model, points, [noise(4, 3, 64, 64)], recipe)
    assert {name: grid.bits for name, grid in ranges.grids.items()} == {
        "x": 4,
        "a": 4,
        "b": bits,
        "c": bits,
    }
    assert ranges.mixed == ({} if uniform else {"b": bits, "c": bits})
