"""The page of ``zqc sensitivity`` says what was found."""

from functools import cache

from tests.diagnosed import RANGE, proto, tensors
from zqc.commands.sensitivity import sensitivity
from zqc.report.html.from_sensitivity import sensitivity_page
from zqc.report.html.render import render


@cache
def found(budget):
    """What is found of the small detector at 4 bits."""
    return sensitivity(
        proto(),
        bits=4,
        weight_levels="uniform",  # what looks others up is large beside so small a net
        budget=budget,
        jobs=1,
        images=tensors(),
        input_format=RANGE,
        threads=1,
    )


def test_a_suggestion():
    """What to spare, what it changes, and the command, ready to be copied."""
    result = found(0.5)
    page = sensitivity_page(result)
    count, suggestion = len(result.suggestion.layers), result.suggestion
    layers = "1 layer" if count == 1 else f"{count} layers"
    assert page.verdict.title == f"Spare {layers} at 8 bits"
    assert page.verdict.command == suggestion.command
    before, after = suggestion.before.boxes_db, suggestion.measured.boxes_db
    assert f"boxes {before:.1f} dB → {after:.1f} dB" in page.verdict.reason
    tiles = {tile.label: (tile.before, tile.value) for tile in page.tiles}
    assert tiles["Boxes"] == (f"{before:.1f} dB", f"{after:.1f} dB")
    assert list(tiles) == ["Boxes", "Scores", "Size"]
    assert page.tiles[-1].note.endswith("% larger")
    render(page)


def test_nothing_to_spare():
    """It says so, without a command and without numbers from before."""
    page = sensitivity_page(found(1e-4))
    assert page.verdict.title == "No layer to spare"
    assert page.verdict.command == ""
    assert [(tile.label, tile.before) for tile in page.tiles] == [
        ("Boxes", ""),
        ("Scores", ""),
        ("Size", ""),
    ]


def test_every_layer_as_it_was_found():
    """In the order of the graph, ranked by what each does alone; one of them breaks it."""
    result = found(0.5)
    page = sensitivity_page(result)
    assert [row.name for row in page.layers] == [layer.name for layer in result.layers]
    for row, layer in zip(page.layers, result.layers, strict=True):
        assert result.ranked[int(row.rank) - 1].name == row.name
        assert (row.boxes_db, row.gain_boxes_db) == (layer.alone.boxes_db, layer.gain_boxes_db)
        assert (row.cumulative_scores_db, row.spared_bytes) == (
            layer.cumulative.scores_db,
            layer.spared_bytes,
        )
    marked = [row.name for row in page.layers if row.mark]
    assert marked == [result.layers[result.breaks_at].name]
    assert f"Breaks at        {marked[0]}" in str(result)


def test_steps():
    """What sparing more and more layers gains; the suggestion is one of them."""
    result = found(0.5)
    page = sensitivity_page(result)
    assert [row.bytes for row in page.steps] == [step.extra_bytes for step in result.steps]
    [suggested] = [row for row in page.steps if row.suggested]
    assert suggested.layers == result.suggestion.layers


def test_what_it_was_made_with():
    """The recipe, and the command that finds the same again."""
    page = sensitivity_page(found(0.5))
    assert "bits = 4" in page.recipe.splitlines()
    assert page.command == (
        "zqc sensitivity MODEL --images DIR --bits 4 --weight-levels uniform --input-range=0:1 "
        "--budget 0.5"
    )
