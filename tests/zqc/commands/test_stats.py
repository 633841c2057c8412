"""A card made where the pictures are holds their moments, and is enough to compile elsewhere."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from PIL import Image

from passes import FoldBatchNorm
from passes.graph import with_outputs
from tests import nets
from tests.passes.helpers import run_model
from zqc.cli import main
from zqc.commands import amounts
from zqc.commands import compile as compiler
from zqc.commands.compile import compile_model
from zqc.commands.stats import FEWEST_PICTURES, stats
from zqc.commands.synthesize import synthesize_to
from zqc.errors import OptionError, RuntimeFailure
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.statistics.card import read_card

QUICK = Recipe(samples=4, bits=4, input_format=InputFormat())


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """How good the pictures are does not matter here."""
    monkeypatch.setattr(amounts, "_SYNTHESISED", {"standard": (4, 3, 0.0)})
    monkeypatch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])


@pytest.fixture
def tensors(rng):
    """Twenty pictures, some bright, some dark, as input tensors."""
    light = rng.uniform(0, 1, (20, 3, 1, 1))
    return (light * rng.uniform(0, 1, (20, 3, 16, 16))).astype(np.float32)


@pytest.fixture
def pictures(tensors, tmp_path):
    """Their file."""
    path = tmp_path / "pictures.npz"
    np.savez(path, images=tensors)
    return path


@pytest.fixture
def folded_file(detector_file, tmp_path):
    """The detector without its BatchNorm."""
    model = model_file.load(detector_file).model
    FoldBatchNorm()(model)
    path = tmp_path / "folded.onnx"
    ir.save(model, path)
    return path


@pytest.mark.parametrize("batch", ["N", 3])
def test_moments_of_all_pictures(tmp_path, tensors, pictures, batch):
    """They are numpy's over all pictures at once, for an open batch and for one that is filled."""
    path, card = tmp_path / "model.onnx", tmp_path / "card.json"
    onnx.save(nets.detector(batch=batch), path)
    result = stats(path, card, images=pictures, threads=1)
    assert (result.pictures, result.layers, result.channels) == (20, 3, 14)
    assert result.bytes_written == card.stat().st_size
    onnx.save(nets.detector(batch=20), path)
    names = ["normed", "boxes", "scores"]
    values = run_model(with_outputs(model_file.load(path).model, names), images=tensors)
    for entry in read_card(card).entries:
        exact = values[entry.layer.output].astype(np.float64)
        unit = entry.statistics.unit
        assert np.all(np.abs(entry.statistics.mean - exact.mean((0, 2, 3))) < 0.006 * unit)
        deviation = exact.std((0, 2, 3))
        np.testing.assert_allclose(entry.statistics.deviation, deviation, rtol=3e-3)
        np.testing.assert_allclose([entry.low, entry.high], [exact.min(), exact.max()], rtol=6e-3)


def test_folding_changes_nothing(detector_file, folded_file, pictures, tmp_path):
    """A model gives the same card with BatchNorm and without."""
    paths = [tmp_path / "kept.json", tmp_path / "folded.json"]
    for model, path in zip((detector_file, folded_file), paths, strict=True):
        stats(model, path, images=pictures, threads=1)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_card_says_how_it_was_made(detector_file, tmp_path, rng):
    """Number, size and convention of the pictures are in it; pictures come from a folder, too."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(FEWEST_PICTURES):
        pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    card, normalised = tmp_path / "card.json", InputFormat.from_mean_std((0.5,), (0.25,), bgr=True)
    stats(detector_file, card, images=folder, input_format=normalised, threads=1)
    read = read_card(card)
    assert (read.pictures, read.shape) == (FEWEST_PICTURES, (3, 16, 16))
    assert read.input_format == normalised


def test_few_pictures_are_refused(detector_file, tensors, tmp_path):
    """The moments of a handful of pictures give away too much, unless it is asked for."""
    few, card = tmp_path / "few.npz", tmp_path / "card.json"
    np.savez(few, images=tensors[: FEWEST_PICTURES - 1])
    with pytest.raises(OptionError, match=r"15 tensors from .* too few .* --allow-few"):
        stats(detector_file, card, images=few, threads=1)
    assert not card.exists()
    assert stats(detector_file, card, images=few, allow_few=True, threads=1).pictures == 15


def test_values_that_are_not_finite(detector_file, tensors, tmp_path):
    """A picture that overflows the network is an error, and no card is written."""
    wild = tmp_path / "wild.npz"
    np.savez(wild, images=tensors * np.float32(3e38))
    with pytest.raises(RuntimeFailure, match="infinite or not a number"):
        stats(detector_file, tmp_path / "card.json", images=wild, threads=1)
    assert not (tmp_path / "card.json").exists()


@pytest.mark.parametrize("source", ["card", "twin"])
def test_compile_and_synthesize_a_folded_model(
    detector_file, folded_file, pictures, tmp_path, source
):
    """With statistics from elsewhere both commands work, and say where these came from."""
    file = detector_file
    if source == "card":
        file = tmp_path / "card.json"
        stats(detector_file, file, images=pictures, threads=1)
    result = compile_model(folded_file, recipe=QUICK, statistics=file, threads=1)
    assert result.integer_layers == 3
    assert f"of {file}" in result.calibration
    assert "structured noise" not in result.caution
    made = synthesize_to(folded_file, tmp_path / "made", recipe=QUICK, statistics=file, threads=1)
    assert made.layers == {"card": 3, "twin": 1}[source]
    assert str(file) in made.source


def test_the_convention_comes_with_the_card(detector_file, folded_file, pictures, tmp_path):
    """Whoever compiles with a card need not say how pixels become input values."""
    card, signed = tmp_path / "card.json", InputFormat.from_range(-1, 1)
    stats(detector_file, card, images=pictures, input_format=signed, threads=1)
    recipe = Recipe(samples=4)
    result = compile_model(folded_file, recipe=recipe, statistics=card, threads=1)
    assert (result.input_choice.name, result.input_choice.origin) == (str(signed), "card")


def test_a_twin_is_as_good_as_the_model_itself(detector_file, folded_file, tmp_path):
    """The pictures are the same, whether BatchNorm is in the model or beside it."""
    folders = tmp_path / "own", tmp_path / "lent"
    synthesize_to(detector_file, folders[0], recipe=QUICK, threads=1)
    synthesize_to(folded_file, folders[1], recipe=QUICK, statistics=detector_file, threads=1)
    own, lent = (np.load(folder / "pictures.npz")["images"] for folder in folders)
    np.testing.assert_allclose(own, lent, atol=1e-3)


def test_no_statistics(folded_file, tmp_path):
    """Structured noise in the model's convention, called by its name, with a warning."""
    signed = InputFormat.from_range(-1, 1)
    recipe = Recipe(samples=5, bits=4, input_format=signed)
    result = compile_model(folded_file, recipe=recipe, no_statistics=True, threads=1)
    assert result.calibration == "5 pictures of structured noise (seed 0)"
    assert "check the result on real pictures" in result.caution
    folder = tmp_path / "noise"
    made = synthesize_to(folded_file, folder, recipe=recipe, no_statistics=True, threads=1)
    assert (made.count, made.layers, made.source) == (5, 0, "")
    values = np.load(folder / "pictures.npz")["images"]
    assert values.dtype == np.float32
    assert -1 <= values.min() < -0.2
    assert 0.2 < values.max() <= 1


def test_noise_in_the_order_of_the_channels(folded_file, tmp_path):
    """A model that takes BGR gets the same pictures with blue first."""
    arrays = []
    for bgr in (False, True):
        recipe = Recipe(samples=2, input_format=InputFormat(bgr=bgr))
        folder = tmp_path / str(bgr)
        synthesize_to(folded_file, folder, recipe=recipe, no_statistics=True, threads=1)
        arrays.append(np.load(folder / "pictures.npz")["images"])
    np.testing.assert_array_equal(arrays[0], arrays[1][:, ::-1])
    assert np.abs(arrays[0] - arrays[1]).max() > 0.05


def test_sources_exclude_each_other(folded_file, detector_file, pictures, tmp_path):
    """Two sources of calibration data are one too many."""
    for given, names in (
        ({"images": pictures, "statistics": detector_file}, "--images and --statistics exclude"),
        ({"statistics": detector_file, "no_statistics": True}, "--statistics and --no-statistics"),
        ({"images": pictures, "no_statistics": True}, "--images and --no-statistics"),
    ):
        with pytest.raises(OptionError, match=names):
            compile_model(folded_file, recipe=QUICK, threads=1, **given)
    with pytest.raises(OptionError, match="--statistics and --no-statistics"):
        synthesize_to(
            folded_file, tmp_path / "x", statistics=detector_file, no_statistics=True, threads=1
        )


def test_on_the_command_line(folded_file, detector_file, pictures, tmp_path, capsys):
    """The three commands and their options do what their Python functions do."""

    def run(*arguments):
        capsys.readouterr()
        code = main.run([*map(str, arguments), "--threads", "1", "--json"])
        return code, json.loads(capsys.readouterr().out)

    card = tmp_path / "card.json"
    assert run("stats", detector_file, "--images", pictures, "-o", card)[1]["channels"] == 14
    quick = ("--samples", 4)
    code, result = run("compile", folded_file, "--statistics", card, *quick)
    assert (code, "structured noise" in result["caution"]) == (0, False)
    code, result = run(
        "synthesize", folded_file, "--statistics", card, "-o", tmp_path / "a", *quick
    )
    assert (code, result["layers"]) == (0, 3)
    code, result = run("synthesize", folded_file, "--no-statistics", "-o", tmp_path / "b", *quick)
    assert (code, result["first_loss"]) == (0, None)
    code, result = run("compile", folded_file, "--no-statistics", "--statistics", card)
    assert (code, result["error"]["type"]) == (1, "OptionError")
    code, result = run("compile", folded_file, *quick)
    assert (code, "--statistics" in result["caution"]) == (0, True)
    code, result = run("compile", folded_file, "--require-statistics")
    assert all(x in result["error"]["message"] for x in ("--statistics", "--no-statistics"))
    code, result = run("stats", folded_file, "--images", tmp_path / "nowhere", "-o", card)
    assert (code, result["error"]["type"]) == (1, "ImageError")
