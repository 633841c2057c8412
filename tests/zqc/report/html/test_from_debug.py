"""The page of ``zqc debug`` says what was found."""

import dataclasses
import math
from functools import cache

import pytest

from tests.diagnosed import RANGE, canonical, proto, scaled_weight, swapped_outputs, tensors
from zqc.commands.debug import debug
from zqc.report.html.from_debug import debugged_page
from zqc.report.html.render import render

MODELS = {
    "sound": lambda: canonical(bits=4),
    "scaled": lambda: scaled_weight(canonical(bits=8), "deep", 8),
    "swapped": lambda: swapped_outputs(canonical(bits=8)),
}


@cache
def found(kind):
    """What is found of a model."""
    return debug(proto(), MODELS[kind](), images=tensors(), input_format=RANGE, threads=1)


def test_a_culprit():
    """It is the verdict, and marked in the table with the reason."""
    result = found("scaled")
    page = debugged_page(result)
    assert page.verdict.word == "broken"
    assert page.verdict.title == "A layer is out of order"
    assert page.verdict.reason == f"The culprit is deep: {result.ranked[0].reasons[0]}."
    assert page.verdict.command == ""
    [wrong] = [row for row in page.layers if row.wrong]
    assert (wrong.name, wrong.rank, wrong.mark) == ("deep", 1, "parts here")
    assert wrong.note == "; ".join(result.ranked[0].reasons)
    render(page)


def test_no_culprit():
    """Nothing is called good or broken; the command that says what to spare comes next."""
    verdict = debugged_page(found("sound")).verdict
    assert (verdict.word, verdict.title) == ("not judged", "Nothing is out of order")
    assert verdict.command == ("zqc sensitivity MODEL --images DIR --bits 4 --input-range=0:1")
    assert verdict.reason.endswith(" (4 bits).")


def test_what_is_wrong_behind_the_layers():
    """It is broken, too, though no layer is."""
    page = debugged_page(found("swapped"))
    assert page.verdict.word == "broken"
    assert page.verdict.title == "What follows the layers is out of order"
    assert page.verdict.command == ""
    assert not any(row.wrong for row in page.layers)


@pytest.mark.parametrize("kind", MODELS)
def test_every_layer_as_it_was_found(kind):
    """In the order of the graph, with the numbers of the result, each rank once."""
    result = found(kind)
    page = debugged_page(result)
    assert [row.name for row in page.layers] == [layer.name for layer in result.layers]
    assert sorted(row.rank for row in page.layers) == list(range(1, len(page.layers) + 1))
    for row, layer in zip(page.layers, result.layers, strict=True):
        assert result.ranked[int(row.rank) - 1].name == row.name
        assert (row.boxes_db, row.scores_db) == (layer.alone.boxes_db, layer.alone.scores_db)
        assert (row.local_db, row.cumulative_db) == (layer.local_db, layer.cumulative_db)
        assert (row.mark == "parts here") == (row.name in result.parts_at)
        assert row.integer is None
    known = [layer.name for layer in result.ranked if layer.histogram is not None][:8]
    assert [drawn.name for drawn in page.distributions] == known


def test_tiles():
    """Everything quantized, how many layers are out of order, and where the models part."""
    page = debugged_page(found("scaled"))
    tiles = {tile.label: tile for tile in page.tiles}
    assert list(tiles) == ["Boxes", "Scores", "Out of order", "Parts at"]
    assert tiles["Out of order"].value == "1"
    assert "deep" in tiles["Parts at"].note
    sound = {tile.label: tile.value for tile in debugged_page(found("sound")).tiles}
    assert sound["Out of order"] == "none"


def test_bits_and_layers_without_a_counterpart():
    """The bits of the weights stand above all; layers that were not found are a warning."""
    result = dataclasses.replace(found("scaled"), not_found=("a", "b"), seconds=math.nan)
    result = dataclasses.replace(result, saturation="this processor has no VNNI")
    page = debugged_page(result)
    assert page.precision == "8-bit weights"
    first, second = page.warnings
    assert first == f"2 layers were not found in {result.quantized}: a, b."
    assert second == "This processor has no VNNI."
    assert "Time" not in dict(page.facts)
    one = dataclasses.replace(result, not_found=("a",))
    assert debugged_page(one).warnings[0].startswith("1 layer was not found")


def test_the_same_again():
    """The command that found it stands below."""
    assert debugged_page(found("scaled")).command == (
        "zqc debug MODEL MODEL --images DIR --input-range=0:1"
    )
