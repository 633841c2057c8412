"""Tiles that the pages of several commands have."""

import math

import pytest

from zqc.detection.pairing import Counts
from zqc.diagnosis.effects import Effect
from zqc.report.html.tiles import agreement_tile, boxes_tile, effect_tiles, size_tile

NAN = math.nan


def test_agreement():
    """In percent, with what it was before, where that is known."""
    tile = agreement_tile(0.75, 0.5)
    assert (tile.value, tile.before, tile.share) == ("75.0 %", "50.0 %", 0.75)
    assert agreement_tile(0.75).before == ""


def test_boxes():
    """Those of the float model that are kept, of all that it has."""
    tile = boxes_tile(Counts(10, 8, 2, 0, 1, 0, 0.9, 0.0, 0.0))
    assert (tile.value, tile.note, tile.share) == ("8/10", "2 lost, 1 new", pytest.approx(0.8))


@pytest.mark.parametrize(
    ("after", "before", "note", "share"),
    [
        (250_000, 1_000_000, "4.0 times smaller", 0.25),
        (1_050_000, 1_000_000, "5.0 % larger", NAN),
    ],
)
def test_size(after, before, note, share):
    """Smaller or larger; only what is smaller has a bar."""
    tile = size_tile(after, before)
    assert tile.note == note
    assert tile.share == pytest.approx(share, nan_ok=True)


def test_effects():
    """Boxes, scores and detections, each only where it is known, and before where that is."""
    after, before = Effect(30.0, math.inf, NAN, 0.9), Effect(20.0, NAN, NAN, 0.5)
    found = [(tile.label, tile.value, tile.before) for tile in effect_tiles(after, before)]
    assert found == [
        ("Boxes", "30.0 dB", "20.0 dB"),
        ("Scores", "∞ dB", ""),
        ("Agreement", "90.0 %", "50.0 %"),
    ]
    assert [tile.label for tile in effect_tiles(Effect(other_db=3.0))] == ["Outputs"]
    assert not list(effect_tiles(Effect()))
