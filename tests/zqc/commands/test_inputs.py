"""What calibration pictures are made with; the ways to get them are compiled in test_compiler."""

import io
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.nets import detector, without_batch_norm, without_gradient
from zqc.commands.inputs import CalibrationSource, begin, gather, noise
from zqc.errors import NoBatchNormError, OptionError, UnsupportedOperatorError
from zqc.pictures.input_format import InputFormat
from zqc.pictures.structured_noise import structured_noise
from zqc.progress import Lines
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe

SIGNED = InputFormat.from_range(-1, 1)


def test_noise_in_the_input_format():
    """Structured noise of the seed, from -1 to 1 (1e-6)."""
    found = noise((3, 8, 6), Recipe(samples=4, seed=2), SIGNED)
    expected = 2 * structured_noise(4, (3, 8, 6), 2) - 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_tied_channels_of_noise_are_the_same():
    """One grey picture in all channels."""
    found = noise((3, 8, 6), Recipe(samples=4, tie_channels=True), InputFormat(bgr=True))
    assert found.shape == (4, 3, 8, 6)
    np.testing.assert_array_equal(found, np.repeat(found[:, :1], 3, axis=1))
    assert np.ptp(found) > 0.2


def test_one_source_or_none(tmp_path):
    """No source is the model itself; two exclude each other by the names of their options."""
    assert CalibrationSource() == CalibrationSource(
        images=None, statistics=None, no_statistics=False
    )
    with pytest.raises(OptionError, match="--images and --no-statistics exclude each other"):
        CalibrationSource(images=tmp_path, no_statistics=True)


@pytest.mark.parametrize("given", ["images", "no_statistics"])
def test_statistics_are_not_required_where_none_are_used(tmp_path, given):
    """Neither with pictures nor with noise; with a file of statistics they may be."""
    value = tmp_path if given == "images" else True
    name = f"--{given.replace('_', '-')}"
    with pytest.raises(OptionError, match=f"{name} and --require-statistics exclude each other"):
        CalibrationSource(require_statistics=True, **{given: value})
    CalibrationSource(require_statistics=True, statistics=tmp_path / "card.json")


def opened(tmp_path, proto, **given):
    """A model in a file, with the pictures that are made for it, and what is said meanwhile."""
    onnx.save(proto, tmp_path / "m.onnx")
    source = CalibrationSource(**given)
    recipe = Recipe(samples=2, effort="quick", input_format=InputFormat())
    loaded, origin, form, _ = begin(tmp_path / "m.onnx", recipe, source, threads=1)
    plan = Plan.of(replace(recipe, input_format=form), threads=1)
    stream = io.StringIO()
    made = gather(loaded, origin, plan, source, progress=Lines(stream))
    return made, stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("proto", "why"),
    [
        (without_batch_norm, "no BatchNorm statistics in the model"),
        (
            without_gradient,
            "pictures cannot be matched to any of the 1 normalised layers, which "
            "need the gradient of Det 'determinant'",
        ),
    ],
)
def test_noise_takes_the_place_of_pictures(tmp_path, proto, why):
    """Where there are no statistics, or no gradient to them; one line says it before, one after."""
    made, lines = opened(tmp_path, proto())
    asked_for, _ = opened(tmp_path, proto(), no_statistics=True)
    assert (made.source, made.synthesised) == ("2 pictures of structured noise (seed 0)", False)
    np.testing.assert_array_equal(*(next(each.batches(2)) for each in (made, asked_for)))
    assert made.caution.startswith(f"{why}: calibrated with structured noise; ")
    assert asked_for.caution.startswith("calibrated with structured noise, which knows nothing")
    assert [line for line in lines if "noise" in line] == [
        f"Structured noise takes the place of synthesised pictures: {why}"
    ]


@pytest.mark.parametrize(
    ("proto", "error"),
    [(without_batch_norm, NoBatchNormError), (without_gradient, UnsupportedOperatorError)],
)
def test_noise_is_an_error_where_statistics_are_required(tmp_path, proto, error):
    """Whether there are none or none that can be matched; the error says what to do."""
    with pytest.raises(error, match="--images"):
        opened(tmp_path, proto(), require_statistics=True)


def test_required_statistics_are_used(tmp_path):
    """Nothing else changes where pictures can be synthesised, and nothing is to be said."""
    one, two = (opened(tmp_path, detector(), require_statistics=r)[0] for r in (True, False))
    assert (one.synthesised, one.caution, two.caution) == (True, "", "")
    np.testing.assert_array_equal(*(next(each.batches(2)) for each in (one, two)))


def test_a_twin_without_statistics_is_an_error(tmp_path):
    """Who gives a file wants its statistics."""
    onnx.save(without_batch_norm(), tmp_path / "twin.onnx")
    with pytest.raises(NoBatchNormError, match=r"twin.onnx has no BatchNormalization either"):
        opened(tmp_path, without_batch_norm(), statistics=tmp_path / "twin.onnx")


@pytest.mark.parametrize("field", ["equalization", "bias_correction"])
def test_statistics_that_are_asked_for_by_name_are_needed(tmp_path, field):
    """A model without any is refused before any work, and the message names the option."""
    onnx.save(without_batch_norm(), tmp_path / "m.onnx")
    recipe = Recipe(**{field: "statistics"})
    with pytest.raises(OptionError, match=f"--{field.replace('_', '-')} statistics needs"):
        begin(tmp_path / "m.onnx", recipe, CalibrationSource(), threads=1)
