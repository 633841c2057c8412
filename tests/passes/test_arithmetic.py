"""The quantizer's arithmetic is ONNX's."""

import math

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from passes.arithmetic import (
    MIN_EXPONENT,
    Grid,
    exponent_of,
    fake_quantize,
    integer_range,
    quantize,
    scales,
    weight_exponents,
)
from zqc.runtime import session

TYPES = {(8, True): "int8", (8, False): "uint8", (4, True): "int4", (4, False): "uint4"}
KINDS = [pytest.param(*kind, id=name) for kind, name in TYPES.items()]
EXPONENTS = (MIN_EXPONENT, -3, 0, 1, 9)


def qdq_model(bits, signed, scale, point=0):
    """QuantizeLinear → DequantizeLinear."""
    return onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[n] x) => (float[n] y)
    <float s = {{{scale!r}}}, {TYPES[bits, signed]} z = {{{point}}}> {{
        q = QuantizeLinear(x, s, z)
        y = DequantizeLinear(q, s, z)
    }}""")


def critical_values(bits, signed, scale):
    """Every grid point, every half-way point and both float neighbours, beyond both ends too."""
    low, high = integer_range(bits=bits, signed=signed)
    halves = np.arange(2 * low - 8, 2 * high + 9).astype(np.float32) / 2
    exact = halves * np.float32(scale)
    infinity = np.float32(np.inf)
    far = np.float32([0, -0.0, 1e9 * scale, -1e9 * scale])
    return np.concatenate(
        [exact, np.nextafter(exact, infinity), np.nextafter(exact, -infinity), far]
    )


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(("bits", "signed"), KINDS)
def test_fake_quantize_is_the_pair_of_onnx_runtime(bits, signed, exponent):
    """Half-way points, their neighbours and saturation give ONNX Runtime's bits."""
    scale = Grid(exponent, bits, signed).scale
    x = critical_values(bits, signed, scale)
    model = qdq_model(bits, signed, scale).SerializeToString()
    expected = session.load(model, threads=1, optimize=False)({"x": x})["y"]
    np.testing.assert_array_equal(fake_quantize(x, scale, bits=bits, signed=signed), expected)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize(("bits", "signed"), KINDS)
def test_fake_quantize_is_the_pair_of_the_reference_evaluator(bits, signed, exponent):
    """Half-way points, their neighbours and saturation give the ONNX reference's bits."""
    scale = Grid(exponent, bits, signed).scale
    x = critical_values(bits, signed, scale)
    (expected,) = ReferenceEvaluator(qdq_model(bits, signed, scale)).run(None, {"x": x})
    np.testing.assert_array_equal(fake_quantize(x, scale, bits=bits, signed=signed), expected)


def shifted_grids():
    """Unsigned grids with odd, even, small and the largest shifts."""
    for bits, shifts in ((8, (0, 1, 2, 37, 128, 255)), (4, (0, 1, 2, 7, 15))):
        for shift in shifts:
            yield from (Grid(exponent, bits, False, shift) for exponent in (-9, 0, 3))


@pytest.mark.parametrize("grid", list(shifted_grids()), ids=str)
def test_a_shift_is_a_zero_point(grid):
    """Half-way points, their neighbours and both ends give ONNX's bits for that zero point."""
    x = critical_values(grid.bits, False, grid.scale) - np.float32(grid.shift * grid.scale)
    neighbours = [np.nextafter(x, np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.concatenate([x, *neighbours, np.float32([np.inf, -np.inf])])
    model = qdq_model(grid.bits, False, grid.scale, grid.shift)
    runner = session.load(model.SerializeToString(), threads=1, optimize=False)
    np.testing.assert_array_equal(grid.nearest(x), runner({"x": x})["y"])
    x = x[np.isfinite(x)]  # the reference turns infinities into integers before it clips
    np.testing.assert_array_equal(grid.nearest(x), ReferenceEvaluator(model).run(None, {"x": x})[0])


def test_a_shift_moves_the_ends():
    """Sixteen values from −3Δ to 12Δ; the threshold and the stored integers stay."""
    grid = Grid(3, 4, signed=False, shift=3)
    assert (grid.threshold, grid.scale, grid.integers) == (8.0, 0.5, (0, 15))
    assert grid.bounds == (-1.5, 6.0)
    assert Grid(3, 4, signed=True).bounds == (-8.0, 7.0)


@pytest.mark.parametrize(
    ("signed", "shift", "said"), [(True, 1, "signed"), (False, 16, "0…15"), (False, -1, "0…15")]
)
def test_impossible_shifts_are_refused(signed, shift, said):
    """A shift belongs to an unsigned grid and is one of its integers."""
    with pytest.raises(ValueError, match=said):
        Grid(0, 4, signed, shift)


def test_integer_range_is_that_of_the_type():
    """The integers are all those of INT8, UINT8, INT4 and UINT4."""
    assert integer_range(bits=8, signed=True) == (-128, 127)
    assert integer_range(bits=8, signed=False) == (0, 255)
    assert integer_range(bits=4, signed=True) == (-8, 7)
    assert integer_range(bits=4, signed=False) == (0, 15)


@pytest.mark.parametrize(("bits", "signed"), KINDS)
def test_scales_are_exact_powers_of_two(bits, signed):
    """Δ = 2^(k − b + s) to the last bit, for every exponent in use."""
    exponents = np.arange(MIN_EXPONENT, 31)
    expected = np.float32([math.ldexp(1.0, int(k) - bits + signed) for k in exponents])
    actual = scales(exponents, bits=bits, signed=signed)
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, expected)


def test_grid_says_threshold_scale_and_integers():
    """A 4-bit unsigned grid with threshold 8 has sixteen values in steps of one half."""
    grid = Grid(3, 4, signed=False)
    assert (grid.threshold, grid.scale, grid.integers) == (8.0, 0.5, (0, 15))


@pytest.mark.parametrize("k", range(MIN_EXPONENT + 1, 40))
def test_exponent_of_is_exact_beside_a_power_of_two(k):
    """2^k and the number below it have exponent k, the number above it k + 1."""
    power = 2.0**k
    neighbours = [np.nextafter(power, 0), power, np.nextafter(power, np.inf)]
    assert exponent_of(neighbours).tolist() == [k, k, k + 1]


def test_exponent_of_stops_at_the_smallest():
    """Zero and everything up to 2^MIN_EXPONENT have the smallest exponent."""
    smallest = 2.0**MIN_EXPONENT
    tiny = [0.0, 5e-324, 1e-300, smallest / 2, np.nextafter(smallest, 0), smallest]
    assert exponent_of(tiny).tolist() == [MIN_EXPONENT] * len(tiny)
    assert exponent_of(np.nextafter(smallest, 1)) == MIN_EXPONENT + 1


def nearest_error(row, weights, exponent, bits):
    """Weighted squared error when each value moves to the nearest point of an explicit grid."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    points = np.arange(low, high + 1) * 2.0 ** (exponent - bits + 1)
    distances = np.abs(row[:, None].astype(np.float64) - points).min(axis=1)
    return float((weights * distances**2).sum())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("weighted", [False, True])
def test_weight_exponents_are_the_best_of_all(bits, axis, weighted, rng):
    """No exponent has a smaller error than the chosen one, by brute force over all of them."""
    weight = rng.standard_t(3, (5, 6, 7)).astype(np.float32) * np.float32(0.3)
    weight *= (
        np.exp2(rng.uniform(-4, 4, weight.shape[axis]))
        .astype(np.float32)
        .reshape([-1 if i == axis % 3 else 1 for i in range(3)])
    )
    importance = rng.uniform(0.1, 5, weight.shape).astype(np.float32) if weighted else None
    chosen = weight_exponents(weight, bits=bits, axis=axis, importance=importance)
    assert chosen.shape == (weight.shape[axis],)
    factors = np.ones_like(weight) if importance is None else importance
    rows = np.moveaxis(weight, axis, 0).reshape(len(chosen), -1)
    factors = np.moveaxis(factors, axis, 0).reshape(len(chosen), -1)
    for row, factor, exponent in zip(rows, factors, chosen, strict=True):
        errors = {k: nearest_error(row, factor, k, bits) for k in range(MIN_EXPONENT, 10)}
        assert errors[int(exponent)] == pytest.approx(min(errors.values()), rel=1e-9)


def test_weight_exponents_of_zeros_keep_zeros():
    """A dead channel gets some grid, on which it is still zero."""
    weight = np.zeros((2, 4), np.float32)
    weight[1] = [1, -1, 0.5, 0]
    exponents = weight_exponents(weight, bits=4, axis=0)
    assert np.all(exponents >= MIN_EXPONENT)
    scale = scales(exponents, bits=4, signed=True)[:, None]
    np.testing.assert_array_equal(fake_quantize(weight, scale, bits=4, signed=True), weight)


def test_weight_exponents_count_the_missing_top_step():
    """A largest weight of exactly 2^k needs the threshold 2^(k+1): the grid ends at 2^k − Δ."""
    assert weight_exponents(np.float32([[1.0]]), bits=8, axis=0)[0] > 0
    assert weight_exponents(np.float32([[-1.0, 0.5]]), bits=8, axis=0)[0] >= 0


kinds = st.sampled_from(list(TYPES))
floats = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(kinds, st.integers(MIN_EXPONENT, 20), st.lists(floats, min_size=1, max_size=20))
def test_fake_quantize_holds_its_properties(kind, exponent, numbers):
    """It is idempotent and monotone, at most Δ/2 off inside the range and clipped beyond."""
    bits, signed = kind
    grid = Grid(exponent, bits, signed)
    x = np.sort(np.float32(numbers))
    once = fake_quantize(x, grid.scale, bits=bits, signed=signed)
    np.testing.assert_array_equal(fake_quantize(once, grid.scale, bits=bits, signed=signed), once)
    assert np.all(np.diff(once) >= 0)
    low, high = (end * grid.scale for end in grid.integers)
    inside = (x >= low) & (x <= high)
    off = np.abs(once.astype(np.float64) - x)
    assert np.all(off[inside] <= grid.scale / 2)
    np.testing.assert_array_equal(once[~inside], np.where(x < low, low, high)[~inside])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([4, 8]),
    st.integers(MIN_EXPONENT, 20),
    st.integers(0, 255),
    st.lists(floats, min_size=1, max_size=20),
)
def test_shifted_grids_hold_their_properties(bits, exponent, shift, numbers):
    """The nearest value is at most Δ/2 off inside the bounds, the bound beyond, and stays."""
    grid = Grid(exponent, bits, False, shift % 2**bits)
    for x in (np.float32(numbers), np.float64(numbers)):
        once = grid.nearest(x)
        assert once.dtype == x.dtype
        np.testing.assert_array_equal(grid.nearest(once), once)
        low, high = grid.bounds
        inside = (x >= low) & (x <= high)
        assert np.all(np.abs(once.astype(np.float64) - x)[inside] <= grid.scale / 2)
        np.testing.assert_array_equal(once[~inside], np.where(x < low, low, high)[~inside])


def test_quantize_keeps_the_type_of_its_input():
    """Float32 stays float32 and float64 stays float64, with a scale of either type."""
    for kind in (np.float32, np.float64):
        assert quantize(np.ones(2, kind), 0.25, bits=8, signed=True).dtype == kind
        assert fake_quantize(np.ones(2, kind), np.float32(0.25), bits=8, signed=True).dtype == kind
