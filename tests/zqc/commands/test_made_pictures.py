"""Pictures to compare on where nobody has any."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests import nets
from tests.zqc.commands.small_detectors import with_recipe, write_detector
from zqc.commands.made_pictures import COUNT, made_pictures
from zqc.commands.pair import open_pair
from zqc.errors import ModelError
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe

SIGNED = InputFormat.from_range(-1, 1)


def made(pair, asked="RGB", limit=2):
    """Make pictures for a pair."""
    return made_pictures(pair, asked, limit=limit, threads=1, progress=Silent())


def opened(first, second=None):
    """A pair."""
    paths = first, second or first
    return open_pair(paths, input_shape=None, values={}, threads=1)


def tensors(pictures):
    """All of them."""
    return np.concatenate(list(pictures.batches(8)))


@pytest.fixture
def batch_norm(detector_file):
    """A pair of a detector with statistics."""
    return opened(detector_file)


def test_statistics_make_pictures(batch_norm):
    """They are synthesised in the format that is found, as many as are wanted."""
    pictures, form, choice = made(batch_norm)
    assert (len(pictures), pictures.synthesised, choice.origin) == (2, True, "found")
    assert pictures.source.startswith("2 pictures synthesised from 1 BatchNorm layer (")
    low, high = form.bounds(3)
    assert (tensors(pictures) >= low.min() - 1e-5).all()
    assert (tensors(pictures) <= high.max() + 1e-5).all()


def test_they_are_not_those_of_the_calibration(batch_norm):
    """The seed is the next one, so that the model has not been fitted to them; always the same."""
    again = replace(batch_norm, recipe=Recipe(seed=7))
    one, same, other = (made(pair)[0] for pair in (batch_norm, batch_norm, again))
    assert ("seed 1" in one.source, "seed 8" in other.source) == (True, True)
    assert np.array_equal(tensors(one), tensors(same))
    assert not np.array_equal(tensors(one), tensors(other))


def test_the_format_of_the_recipe_is_taken(batch_norm):
    """Unless one is asked for; the order of channels may be asked for beside it."""
    pair = replace(batch_norm, recipe=Recipe(input_format=SIGNED))
    _, form, choice = made(pair)
    assert (form, choice.origin) == (SIGNED, "recipe")
    _, form, choice = made(pair, "BGR")
    assert (form, choice.origin) == (replace(SIGNED, bgr=True), "recipe")
    _, form, choice = made(pair, InputFormat())
    assert (form, choice.origin) == (InputFormat(), "given")


def test_without_statistics_noise_has_to_do(tmp_path):
    """Structured noise in the range of the input, and it is said to be that."""
    pictures, _, choice = made(opened(write_detector(tmp_path / "m.onnx")), SIGNED, limit=None)
    assert (len(pictures), pictures.synthesised) == (COUNT, False)
    assert pictures.source == f"{COUNT} pictures of structured noise (seed 1)"
    assert choice.origin == "given"
    assert -1 <= tensors(pictures).min() < -0.5 < 0.5 < tensors(pictures).max() <= 1


def test_what_zqc_cannot_read_needs_pictures(tmp_path):
    """The reason why it cannot be compiled, and the way out."""
    text = """int8s (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y)
    <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }"""
    onnx.save(nets.model(text), tmp_path / "q.onnx")
    with pytest.raises(ModelError, match=r"quantized.*; give pictures with --images"):
        made(opened(tmp_path / "q.onnx"))


def test_recipes_in_files_count(detector_file, tmp_path):
    """The seed and the format come from the quantized file itself."""
    other = tmp_path / "q.onnx"
    other.write_bytes(detector_file.read_bytes())
    with_recipe(other, Recipe(seed=4, input_format=SIGNED))
    pictures, form, _ = made(opened(detector_file, other))
    assert ("seed 5" in pictures.source, form) == (True, SIGNED)
