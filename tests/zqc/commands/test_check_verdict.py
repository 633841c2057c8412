"""What ``zqc check`` concludes of models that are broken on purpose, and of those that are not."""

import pytest

from tests.zqc.commands.small_detectors import (
    NAMES,
    bright_patches,
    with_recipe,
    write_coco,
    write_detector,
    write_patches,
    write_pictures,
)
from zqc.commands.check import check
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe
from zqc.recipe.toml import from_toml

PATCHES = bright_patches()
RENAMED = (("cat", "dog"), ("dog", "bird"), ("bird", "cat"))


@pytest.fixture
def pictures(tmp_path):
    """Pictures with bright patches."""
    return write_pictures(tmp_path / "pictures", PATCHES)


@pytest.fixture
def model(tmp_path):
    """The float model."""
    return write_patches(tmp_path / "m.onnx")


def test_a_model_is_as_good_as_itself(model, pictures):
    """All boxes are kept, and nothing need be done."""
    result = check(model, model, images=pictures)
    assert (result.verdict.word, result.verdict.advice) == ("good", "")
    assert result.pairing.counts.kept == result.pairing.counts.float_boxes == PATCHES.sum()
    assert str(result).startswith("Verdict          good: its detections agree with the float")


@pytest.mark.parametrize("labelled", [False, True])
def test_permuted_classes_are_broken_and_explained(tmp_path, model, pictures, labelled):
    """Boxes are all there under other classes: the verdict says which, with labels or without."""
    permuted = write_patches(tmp_path / "q.onnx", order=(1, 2, 0))
    labels = write_coco(tmp_path / "l.json", PATCHES) if labelled else None
    verdict = check(model, permuted, images=pictures, labels=labels).verdict
    assert verdict.word == "broken"
    count = {name: PATCHES[:, first::3].sum() for first, name in enumerate(NAMES)}
    said = "; ".join(
        f"{count[name]} of {count[name]} boxes of class {name} come out as {other}"
        for name, other in sorted(RENAMED, key=lambda pair: (-count[pair[0]], pair[0]))[:2]
    )
    assert verdict.reason == f"{said}; 1 more class likewise"
    assert verdict.advice == f"zqc debug {model} {permuted} --images {pictures}"


def test_dead_scores_are_broken(tmp_path):
    """Logits on a grid of 40 are all 0: every score is a half, which no average would show."""
    model = write_detector(tmp_path / "m.onnx")
    dead = write_detector(tmp_path / "q.onnx", step=40.0)
    folder = write_pictures(tmp_path / "grey", PATCHES)
    verdict = check(model, dead, images=folder).verdict
    assert verdict.word == "broken"
    assert verdict.reason.startswith("every score is the same, so it finds nothing (float ")


def test_a_model_that_finds_nothing_any_more_is_broken(tmp_path, model, pictures):
    """Boxes in the right order whose scores are far too low are lost; nobody says renamed."""
    silent = write_patches(tmp_path / "q.onnx", gain=0.5)
    result = check(model, silent, images=pictures)
    counts = result.pairing.counts
    assert counts.lost == counts.lost_below == counts.float_boxes == PATCHES.sum()
    cats = PATCHES[:, ::3].sum()
    assert result.verdict.word == "broken"
    assert result.verdict.reason == f"of {cats} boxes of class cat it keeps 0"


def test_what_was_compiled_with_few_bits_is_advised_otherwise(tmp_path, model, pictures):
    """Between good and broken, ``sensitivity`` finds the layers of 4 bits; of 8, ``debug``."""
    for bits, command in ((4, "sensitivity"), (8, "debug")):
        moved = write_patches(tmp_path / f"q{bits}.onnx", shift=3.0)
        with_recipe(moved, Recipe(bits=bits))
        result = check(model, moved, images=pictures)
        assert result.verdict.word == "usable with care"
        assert result.verdict.advice.startswith(f"zqc {command} {model}")
        assert result.precision == ("w4a8" if bits == 4 else "int8")
        assert (result.target, from_toml(result.recipe, where="").bits) == ("ort-x86", bits)


def test_the_recipe_says_how_pixels_become_values(tmp_path, model, pictures):
    """What it was compiled with is taken; an option, or BGR beside it, comes first."""
    compiled = write_patches(tmp_path / "q.onnx")
    with_recipe(compiled, Recipe(input_format=InputFormat.from_range(0, 2)))
    found = check(model, compiled, images=pictures).input_choice
    assert (found.name, found.origin) == ("0:2", "recipe")
    found = check(model, compiled, images=pictures, input_format="BGR").input_choice
    assert (found.name, found.origin) == ("0:2, BGR", "recipe")
    asked = InputFormat.from_range(0, 1)
    found = check(model, compiled, images=pictures, input_format=asked).input_choice
    assert (found.name, found.origin) == ("0:1", "given")


def test_a_recipe_that_only_knows_the_order_of_channels_leaves_the_range_open(
    tmp_path, model, pictures
):
    """What was assumed when it was compiled is assumed again, and said to be."""
    compiled = with_recipe(write_patches(tmp_path / "q.onnx"), Recipe(input_format="RGB"))
    found = check(model, compiled, images=pictures).input_choice
    assert (found.name, found.origin) == ("0:1", "assumed")


def test_fit_is_that_of_the_option_or_the_recipe_or_the_convention(tmp_path, model):
    """In this order; the report says which, and the pictures are placed so."""
    folder = tmp_path / "wide"
    write_pictures(folder, PATCHES)
    stretched = with_recipe(write_patches(tmp_path / "q.onnx"), Recipe(fit="stretch"))
    plain = write_patches(tmp_path / "p.onnx")
    for quantized, asked, expected in (
        (plain, "auto", "letterbox"),  # as YOLO has it
        (stretched, "auto", "stretch"),
        (stretched, "letterbox", "letterbox"),
        (plain, "stretch", "stretch"),
    ):
        result = check(model, quantized, images=folder, fit=asked)
        assert result.fit == expected
        assert f"; other sizes: {expected}\n" in str(result)


def test_without_pictures_some_are_made(model):
    """A model without BatchNorm is compared on structured noise, and the way on is real ones."""
    result = check(model, model, limit=3)
    assert (result.images, result.made_up, result.fit) == (3, True, "")
    assert "structured noise" in result.pictures
    assert result.verdict.advice == f"zqc check {model} {model} --images DIR"
    assert result.verdict.reason.endswith("on pictures that were made up") or (
        result.agreement is None
    )


def test_limits_hold_or_do_not(tmp_path, model, pictures):
    """The agreement is held against the demanded percentage, and ``passed`` sums it up."""
    moved = write_patches(tmp_path / "q.onnx", shift=3.0)
    agreed = 100 * check(model, moved, images=pictures).agreement.ap
    assert 50 < agreed < 95
    for least, holds in ((agreed - 0.01, True), (agreed + 0.01, False)):
        result = check(model, moved, images=pictures, min_agreement=least)
        assert result.passed is holds
        assert f"--min-agreement {least:g}: {'holds' if holds else 'does not hold'}" in str(result)
    assert check(model, moved, images=pictures).passed


def test_limits_that_nothing_can_meet_are_refused_before_any_work(tmp_path, model, pictures):
    """A share instead of a percentage is nothing that can be told, but more than 100 is."""
    missing = tmp_path / "none.onnx"
    with pytest.raises(OptionError, match="must be between 0 and 100"):
        check(missing, missing, images=pictures, min_agreement=101)
    with pytest.raises(OptionError, match="needs --labels"):
        check(missing, missing, images=pictures, max_drop=1)
    odd = write_detector(tmp_path / "odd.onnx", height=96, width=96)
    with pytest.raises(OptionError, match="--min-agreement is about detections, but"):
        check(odd, odd, images=pictures, min_agreement=90)
