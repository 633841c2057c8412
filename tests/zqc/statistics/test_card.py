"""A card says what was measured, rounded, and nothing else."""

import json

import numpy as np
import pytest

from zqc.errors import StatisticsError
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics
from zqc.statistics.card import Card, CardEntry, read_card, to_text
from zqc.statistics.correspondence import Fingerprint, LayerIdentity


def entry(rng, name, channels):
    """A layer with means and deviations of any size, one channel of them dead."""
    deviation = rng.uniform(0.01, 30, channels)
    deviation[0] = 0
    statistics = LayerStatistics(name, rng.normal(0, 100, channels), deviation)
    prints = [Fingerprint.of(rng.normal(0, scale, 9 * channels)) for scale in (1e-3, 50)]
    layer = LayerIdentity(name, "Conv", (channels, 9, 1, 1), channels, *prints)
    return CardEntry(layer, statistics, -123.456, 0.000123456)


@pytest.fixture
def card(rng):
    """Two layers, one with a name that JSON must escape."""
    entries = (entry(rng, "first", 16), entry(rng, 'a "second"\\größer', 5))
    return Card(
        64, (3, 20, 30), InputFormat.from_mean_std((0.5,) * 3, (0.2,) * 3, bgr=True), entries
    )


@pytest.fixture
def file(card, tmp_path):
    """The card on disk."""
    path = tmp_path / "card.json"
    path.write_text(to_text(card, written_by="1.2"), encoding="utf-8")
    return path


def test_round_trip(card, file):
    """What is read is what was written, within a hundredth of the unit of each channel."""
    read = read_card(file)
    assert (read.pictures, read.shape, read.input_format) == (64, (3, 20, 30), card.input_format)
    for before, after in zip(card.entries, read.entries, strict=True):
        assert after.layer.output == before.layer.output
        assert after.layer.shape == before.layer.shape
        assert after.layer.weights.is_near(before.layer.weights)
        assert after.layer.bias.is_near(before.layer.bias)
        unit = before.statistics.unit
        assert np.all(np.abs(after.statistics.mean - before.statistics.mean) <= 0.005 * unit)
        np.testing.assert_allclose(
            after.statistics.deviation, before.statistics.deviation, rtol=0.0026
        )
        assert (after.low, after.high) == (-123, 0.000123)


def test_nothing_but_moments(file):
    """Per layer: its identity, a range, one mean and one variance per channel, in few digits."""
    content = json.loads(file.read_text(encoding="utf-8"))
    assert set(content) == {
        "format", "version", "zqc", "pictures", "input_shape", "input", "layers"
    }  # fmt: skip
    for layer in content["layers"]:
        assert set(layer) == {
            "output", "operator", "shape", "weights", "bias", "range", "mean", "variance"
        }  # fmt: skip
        assert len(layer["mean"]) == len(layer["variance"]) == layer["shape"][0]
        for number in layer["variance"]:
            assert float(f"{number:.2e}") == number
        for number in layer["mean"]:
            assert len(repr(number).lstrip("-")) <= 6
    assert len(file.read_text(encoding="utf-8").splitlines()) == 9 + 2


def changed(change):
    """A function that alters the JSON of a card."""

    def alter(text):
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return alter


BAD = {
    "text": (lambda text: "picture statistics", "no statistics card"),
    "cut short": (lambda text: text[: len(text) // 2], "no statistics card"),
    "another JSON": (lambda text: '{"images": []}', "no statistics card"),
    "a list": (lambda text: "[1, 2]", "no statistics card"),
    "nested": (lambda text: "[" * 100_000, "no statistics card"),
    "newer": (changed(lambda c: c.update(version=2)), "version 2 .* zqc 1.2"),
    "no layers": (changed(lambda c: c.update(layers=[])), "no layers"),
    "no pictures": (changed(lambda c: c.update(pictures=0)), "0 pictures"),
    "no means": (changed(lambda c: c["layers"][1].pop("mean")), "'mean' is missing"),
    "few means": (changed(lambda c: c["layers"][1]["mean"].pop()), "belong together"),
    "words": (
        changed(lambda c: c["layers"][0]["mean"].append("x")),
        "where a finite number must be",
    ),
    "null": (changed(lambda c: c["layers"][0].update(mean=None)), "damaged"),
    "NaN": (
        changed(lambda c: c["layers"][0]["mean"].__setitem__(0, np.nan)),
        "NaN where a finite number",
    ),
    "negative": (changed(lambda c: c["layers"][0]["variance"].__setitem__(0, -1)), "'first'"),
    "bad range": (changed(lambda c: c["input"].update(low=[2], high=[1])), "input range"),
}


@pytest.mark.parametrize(("alter", "words"), BAD.values(), ids=BAD)
def test_bad_cards_are_refused(file, alter, words):
    """What is no card, or a damaged one, is refused by name, with the reason."""
    file.write_text(alter(file.read_text(encoding="utf-8")))
    with pytest.raises(StatisticsError, match=words) as caught:
        read_card(file)
    assert str(file) in str(caught.value)


def test_missing_card(tmp_path):
    """A card that is not there, or a folder, is refused by name."""
    with pytest.raises(StatisticsError, match=r"nowhere\.json does not exist"):
        read_card(tmp_path / "nowhere.json")
    with pytest.raises(StatisticsError, match="cannot read"):
        read_card(tmp_path)
