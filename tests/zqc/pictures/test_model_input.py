"""What a model says about the pictures that it takes."""

import numpy as np
import onnx_ir as ir
import pytest

from zqc.errors import ModelError, OptionError
from zqc.pictures.model_input import (
    FurtherInput,
    ModelInputs,
    PictureInput,
    check_known,
    fixed_batch,
    further_input,
    further_sizes,
    has_channels_last,
    input_name,
    picture_shape,
)


def model_of(shape):
    """A model whose only input has the shape."""
    value = ir.Value(name="images", shape=None if shape is None else ir.Shape(shape))
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 17})
    return ir.Model(graph, ir_version=8)


@pytest.mark.parametrize(("batch", "fixed"), [(3, 3), ("N", None), (None, None)])
def test_a_picture(batch, fixed):
    """Name, channels, height and width, whatever the batch; the batch only where it is fixed."""
    model = model_of([batch, 3, 24, 32])
    assert input_name(model) == "images"
    assert picture_shape(model) == (3, 24, 32)
    assert fixed_batch(model) == fixed


@pytest.mark.parametrize("shape", [None, [1], [1, 3, 24], [1, 3, "H", 32], [1, 3, 2, 24, 32]])
def test_what_is_no_picture_is_refused(shape):
    """Another rank, or a size that is open."""
    with pytest.raises(ModelError, match=r"no picture of shape \(N, C, H, W\)"):
        picture_shape(model_of(shape))


@pytest.mark.parametrize(
    ("sizes", "last"),
    [
        ((1, 64, 64, 3), True),
        (("N", None, None, 1), True),
        ((1, 3, 64, 64), False),
        ((1, 3, 64, 3), False),
        ((1, 12, 64, 64), False),
        ((1, 64, 3), False),
    ],
)
def test_channels_last(sizes, last):
    """Where only the last size is a number of channels."""
    assert has_channels_last(sizes) is last


def test_feeds(rng):
    """Pixels are rounded and within 8 bits, channels go last, and values stand once a picture."""
    tensors = rng.uniform(-10, 270, (2, 3, 4, 5)).astype(np.float32)
    inputs = ModelInputs(
        PictureInput("x", np.dtype(np.uint8), channels_last=True),
        (
            FurtherInput("scale", np.array([[1, 2]], np.float32), per_picture=True),
            FurtherInput("size", np.array([4, 5])),
        ),
    )
    feeds = inputs.feeds(tensors)
    expected = tensors.transpose(0, 2, 3, 1).round().clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(feeds["x"], expected)
    np.testing.assert_array_equal(feeds["scale"], [[1, 2], [1, 2]])
    np.testing.assert_array_equal(feeds["size"], [4, 5])


@pytest.mark.parametrize(
    ("name", "dtype", "sizes", "values", "expected"),
    [
        ("scale_factor", "f4", (1, 2), None, [[1, 1]]),
        ("scale_factor", "f4", ("N", 2), (2, 3), [[2, 3]]),
        ("im_shape", "f4", (1, 2), None, [[32, 48]]),
        ("orig_target_sizes", "i8", (2, 2), None, [[32, 48], [32, 48]]),
        ("im_info", "f4", (1, 3), None, [[32, 48, 1]]),
        ("pixel_mask", "?", (1, 1, 2), None, [[[True, True]]]),
        ("gain", "f2", (), (0.5,), 0.5),
        ("gain", "f4", (3,), (7,), [7, 7, 7]),
        ("gain", "i4", (2, 2), (1, 2, 3, 4), [[1, 2], [3, 4]]),
    ],
)
def test_values_beside_the_picture(name, dtype, sizes, values, expected):
    """Given ones, row by row or one for all; else those that the name tells."""
    found = further_input(name, np.dtype(dtype), sizes, values, (32, 48))
    assert found.value.dtype == dtype
    np.testing.assert_array_equal(found.value, expected)
    assert found.value.shape == np.shape(expected)
    assert found.per_picture == ("N" in sizes)


@pytest.mark.parametrize(
    ("name", "dtype", "sizes", "values", "said"),
    [
        ("gain", "f4", (1, 2), None, r"'gain' float32\[1, 2\].*--input gain=VALUES"),
        ("gain", "f4", (1, 2), (1, 2, 3), "3 values were given .*give 1, or 2"),
        ("gain", "i8", (1,), (0.5,), "whole numbers"),
        ("gain", "f4", (1, "M"), (1,), "leaves sizes open"),
        ("label", "O", (1,), (1,), "its name does not tell"),
    ],
)
def test_values_that_nobody_knows(name, dtype, sizes, values, said):
    """The message names the input, its type and shape, and the option."""
    with pytest.raises(OptionError, match=said):
        further_input(name, np.dtype(dtype), sizes, values, (32, 48))


@pytest.mark.parametrize(
    ("name", "sizes", "values", "expected"),
    [
        ("size", (None, 2), None, ("b", 2)),
        ("pixel_mask", ("b", "H", "W"), None, ("b", 32, 48)),
        ("pixel_mask", ("b", "h", "w"), None, ("b", 32, 48)),
        ("other", (1, "M"), (1, 2, 3), (1, 3)),
        ("other", (1, "M"), None, (1, "M")),
    ],
)
def test_open_sizes(name, sizes, values, expected):
    """Names of the picture's sizes mean the same; else the number of values may tell."""
    picture = ("b", 3, "H", "W", "b", 3, 32, 48)
    assert further_sizes(name, sizes, values, picture) == expected


def test_values_for_other_inputs():
    """A misspelt name is refused with those that there are."""
    check_known({"scale": (1.0,)}, ["x", "scale"], "x")
    with pytest.raises(OptionError, match=r"--input scal: .*it has scale"):
        check_known({"scal": (1.0,)}, ["x", "scale"], "x")
    with pytest.raises(OptionError, match="that is the picture"):
        check_known({"x": (1.0,)}, ["x"], "x")
