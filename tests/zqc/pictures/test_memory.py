"""How many pictures are worked on at once, so that memory stays within a bound."""

from itertools import pairwise

import pytest

from tests.passes.helpers import build_model
from zqc.pictures.memory import GRADIENTS, VALUES, memory_needed, picture_bytes, pictures_at_once


def model_of(copies):
    """A model that computes so many times three million bytes of a picture, and once more."""
    names = ["x", *(f"a{i}" for i in range(copies - 1)), "y"]
    lines = [f"{after} = Neg({before})" for before, after in pairwise(names)]
    shapes = ", ".join(f"float[N,3,500,500] {name}" for name in names[1:])
    return build_model(
        f"(float[N,3,500,500] x) => (float[N,3,500,500] z) <{shapes}> "
        f"{{ {' '.join(lines)} z = Relu(y) }}"
    )


def test_bytes_of_a_picture():
    """All float values count, of one picture, whether the batch is open or fixed."""
    assert picture_bytes(model_of(3)) == 4 * 3_000_000
    fixed = build_model("(float[8,10] x) => (float[8,10] y) { y = Neg(x) }")
    assert picture_bytes(fixed) == 40
    whole = build_model("(int64[1,10] x) => (int64[1,10] y) { y = Neg(x) }")
    assert picture_bytes(whole) == 0


def test_as_many_as_fit():
    """What is beside the pictures is taken off; one picture is always worked on."""
    model = model_of(99)  # 300 MB
    assert picture_bytes(model) == 300_000_000
    sizes = [pictures_at_once(model, g * 10**9, most=8) for g in (0.5, 1, 2, 4, 100)]
    assert sizes == [1, 1, 1, 4, 8]
    assert pictures_at_once(model, 4 * 10**9, most=8, sizes=GRADIENTS) == 2
    assert pictures_at_once(model_of(1), 10**9, most=8) == 1
    assert memory_needed(model, 2) == pytest.approx(10**9 + 2 * VALUES * 3e8)


def test_unknown_shapes():
    """Where no shape is known nothing is bounded."""
    model = build_model("(float[N] x) => (float[N] y) { y = Neg(x) }")
    model.graph.outputs[0].shape = None
    assert pictures_at_once(model, 0, most=8) == 8
