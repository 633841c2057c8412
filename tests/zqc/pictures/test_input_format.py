"""Input format: how pixels become tensor values."""

from __future__ import annotations

import numpy as np
import pytest

from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat

IMAGENET = InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    "form",
    [
        InputFormat(),
        InputFormat.from_range(-1, 1, bgr=True),
        InputFormat.from_range(0, 255),
        IMAGENET,
    ],
)
def test_every_pixel_value_survives_the_way_to_the_tensor_and_back(form):
    """All 256 values of every channel come back exactly."""
    pixels = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 9)], axis=-1)
    pixels = pixels.astype(np.uint8).reshape(1, 16, 16, 3)
    assert np.array_equal(form.to_pixels(form.to_tensor(pixels)), pixels)


def test_imagenet_normalisation_has_its_closed_form():
    """(p / 255 - mean) / std is computed per channel, to float32 rounding."""
    pixels = np.array([[[10, 128, 250]]], np.uint8)
    expected = (pixels[0, 0] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    tensor = IMAGENET.to_tensor(pixels)
    assert tensor.shape == (3, 1, 1)
    np.testing.assert_allclose(tensor[:, 0, 0], expected, rtol=0, atol=1e-6)


def test_means_above_one_are_in_units_of_pixels():
    """123.675 / 58.395 means the same as 0.485 / 0.229, and 104 117 127 is subtracted as it is."""
    wide = InputFormat.from_mean_std((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    np.testing.assert_allclose((wide.low, wide.high), (IMAGENET.low, IMAGENET.high), atol=1e-9)
    caffe = InputFormat.from_mean_std((104, 117, 127), (1, 1, 1), bgr=True)
    tensor = caffe.to_tensor(np.array([[[200, 150, 100]]], np.uint8))
    np.testing.assert_allclose(tensor[:, 0, 0], [100 - 104, 150 - 117, 200 - 127], atol=1e-4)


def test_a_standard_deviation_above_one_is_in_units_of_pixels():
    """Mean 0 with deviation 255 is the range 0…1."""
    form = InputFormat.from_mean_std([0], [255])
    assert (form.low, form.high) == ((0.0,), (1.0,))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5, 0.5), (0.5, 0.5)),
        ((0.5,), (0.5, 0.5, 0.5)),
        ((0.5,), (0.0,)),
        ((0.5,), (-1.0,)),
        ((float("nan"),), (1.0,)),
        ((0.5,), (float("inf"),)),
        ((), ()),
    ],
)
def test_unusable_mean_and_deviation_are_refused(mean, std):
    """Wrong counts, deviations that are not positive and NaN raise OptionError."""
    with pytest.raises(OptionError):
        InputFormat.from_mean_std(mean, std)


@pytest.mark.parametrize(("low", "high"), [(1, 0), (1, 1), (float("nan"), 1), (0, float("inf"))])
def test_an_unusable_range_is_refused(low, high):
    """The range must be finite and ascending."""
    with pytest.raises(OptionError, match="range"):
        InputFormat.from_range(low, high)


def test_bounds_are_the_tensor_values_of_black_and_white():
    """Bounds broadcast over N,C,H,W and equal what black and white pixels become."""
    low, high = IMAGENET.bounds(3)
    assert low.shape == high.shape == (1, 3, 1, 1)
    assert low.dtype == np.float32
    black_white = np.array([[[0] * 3, [255] * 3]], np.uint8)
    np.testing.assert_allclose(
        IMAGENET.to_tensor(black_white), np.concatenate([low, high], axis=3)[0], atol=1e-6
    )
    with pytest.raises(OptionError, match="3 channels"):
        IMAGENET.bounds(1)


@pytest.mark.parametrize("bgr", [False, True])
def test_pictures_from_0_to_1_become_what_their_pixels_become(rng, bgr):
    """The tensor is that of the 8-bit pixels, in the same order of channels (1e-6 of a range)."""
    form = InputFormat((-1, 0, 2), (1, 3, 4), bgr)
    pixels = rng.integers(0, 256, (2, 5, 4, 3), np.uint8)
    tensor = form.unit_to_tensor((pixels / 255).astype(np.float32).transpose(0, 3, 1, 2))
    assert (tensor.dtype, tensor.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_allclose(tensor, form.to_tensor(pixels), rtol=0, atol=3e-6)


def test_tensors_outside_the_range_are_clipped_to_pixels():
    """Values beyond the range become 0 and 255, and a tie is rounded to even."""
    tensor = np.array([-3.0, 9.0, 0.5 / 255], np.float32).reshape(1, 1, 3)
    assert InputFormat().to_pixels(tensor).reshape(-1).tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (InputFormat(), "0:1"),
        (InputFormat.from_range(-1, 1, bgr=True), "-1:1, BGR"),
        (IMAGENET, "-2.118:2.249, -2.036:2.429, -1.804:2.64"),
    ],
)
def test_a_format_in_words(form, text):
    """The range that users would write, or one for each channel, and the order if it is BGR."""
    assert str(form) == text
