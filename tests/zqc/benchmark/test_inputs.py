"""Two models are fed alike."""

from pathlib import Path

import numpy as np
import pytest

from zqc.benchmark.inputs import Input, common_inputs, inputs_of, picture_feeds, random_feeds
from zqc.errors import InputShapeError, ModelError, OptionError
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session

A, B = Path("a.onnx"), Path("b.onnx")


def picture(*sizes, name="x", element="tensor(float)"):
    """An input of pictures."""
    return Input(name, element, sizes)


def common(one, other, **options):
    """Sizes of the inputs that both take."""
    return [i.sizes for i in common_inputs([(A, one), (B, other)], **options)]


def test_inputs_of_a_model(write):
    """Names of open sizes stay, as text."""
    (found,) = inputs_of(session.load(write(), threads=1))
    assert str(found) == "x: float N×3×H×W"
    assert found == picture("N", 3, "H", "W")


@pytest.mark.parametrize(
    ("one", "other", "options", "expected"),
    [
        ((1, 3, 8, 8), (1, 3, 8, 8), {}, (1, 3, 8, 8)),
        (("N", 3, 8, 8), ("batch", 3, 8, 8), {}, (1, 3, 8, 8)),
        ((None, 3, 8, 8), (None, 3, 8, 8), {"batch": 4}, (4, 3, 8, 8)),
        (("N", 3, "H", "W"), (2, 3, 8, 16), {}, (2, 3, 8, 16)),
        (("N", 3, "H", "W"), ("N", 3, "H", "W"), {"size": (8, 16)}, (1, 3, 8, 16)),
        (("N", "H", "W", 3), ("N", "H", "W", 3), {"size": (8, 16)}, (1, 8, 16, 3)),
        ((None,) * 4, (None,) * 4, {"size": (8, 16)}, (1, 3, 8, 16)),
        ((1, 3, 8, 16), (1, 3, 8, 16), {"size": (8, 16), "batch": 1}, (1, 3, 8, 16)),
    ],
)
def test_sizes(one, other, options, expected):
    """What is open is what the other model, or else the options say."""
    assert common([picture(*one)], [picture(*other)], **options) == [expected]


def test_more_inputs():
    """In any order; the batch's name is the batch elsewhere, too."""
    one = [picture("N", 3, 8, 8), Input("sizes", "tensor(int64)", ("N", 2))]
    assert common(one, one[::-1], batch=3) == [(3, 3, 8, 8), (3, 2)]


@pytest.mark.parametrize(
    "other",
    [
        [],
        [picture(1, 3, 8, 8, name="y")],
        [picture(1, 3, 8, 16)],
        [picture(1, 3, 8, 8, element="tensor(uint8)")],
        [picture(1, 3, 64)],
        [picture(1, 3, 8, 8), picture(1, 3, 8, 8, name="y")],
    ],
)
def test_other_inputs(other):
    """Other names, sizes, types or ranks are refused, and both are named."""
    with pytest.raises(ModelError, match=r"x: float 1×3×8×8 in a\.onnx"):
        common([picture(1, 3, 8, 8)], other)


@pytest.mark.parametrize(
    ("sizes", "remedy"),
    [((1, 3, "H", "W"), "--input-shape HxW"), ((1, "length"), "fixed sizes")],
)
def test_open_sizes(sizes, remedy):
    """A size that nobody gives is asked for; of what is no picture, no option gives it."""
    with pytest.raises(InputShapeError, match=remedy):
        common([picture(*sizes)], [picture(*sizes)])


@pytest.mark.parametrize("options", [{"batch": 2}, {"size": (8, 9)}])
def test_contradictions(options):
    """Options may repeat what the models say, and nothing else."""
    with pytest.raises(OptionError, match="leave it out"):
        common([picture(1, 3, 8, 8)], [picture(1, 3, 8, 8)], **options)


def test_random_values():
    """Pixels fill the input's range, other floats 0:1, bytes all values; counts are ones."""
    feeds = random_feeds(
        [
            picture(2, 3, 32, 32),
            picture(2, 999, name="f", element="tensor(float16)"),
            picture(4, 32, 32, 3, name="u", element="tensor(uint8)"),
            picture(2, name="n", element="tensor(int64)"),
            picture(2, name="b", element="tensor(bool)"),
        ],
        InputFormat.from_range(-3, 2),
    )
    assert [v.dtype for v in feeds.values()] == ["float32", "float16", "uint8", "int64", "bool"]
    assert -3 <= feeds["x"].min() < -2.9
    assert 1.9 < feeds["x"].max() <= 2
    assert 0 <= feeds["f"].min() < 0.1
    assert 0.9 < feeds["f"].max() <= 1
    assert (feeds["u"].min(), feeds["u"].max()) == (0, 255)
    np.testing.assert_array_equal(feeds["n"], [1, 1])
    with pytest.raises(ModelError, match="cannot be filled"):
        random_feeds([picture(1, element="tensor(string)")], InputFormat())


def test_pictures(tmp_path, rng):
    """The first ones, repeated until the batch is full."""
    tensors = rng.normal(size=(2, 3, 8, 8)).astype("f")
    path = tmp_path / "p.npz"
    np.savez(path, images=tensors)
    feeds = picture_feeds([picture(3, 3, 8, 8)], path, InputFormat())
    np.testing.assert_array_equal(feeds["x"], tensors[[0, 1, 0]])
    with pytest.raises(ModelError, match="without pictures"):
        picture_feeds([picture(1, 2)], path, InputFormat())
