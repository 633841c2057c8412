"""Finished evaluations in a file."""

import json
import math

import pytest

from zqc.diagnosis.cache import Cache
from zqc.diagnosis.effects import Effect
from zqc.errors import OutputError

EFFECT = Effect(boxes_db=12.5, scores_db=math.inf)


def test_effects_are_read_again(tmp_path):
    """With ∞ and NaN in them."""
    path = tmp_path / "kept.jsonl"
    Cache("model", path).add("key", EFFECT)
    again = Cache("model", path, resume=True)
    assert "key" in again
    assert again["key"].boxes_db == 12.5
    assert again["key"].scores_db == math.inf
    assert math.isnan(again["key"].other_db)


def test_those_of_another_model_do_not_count(tmp_path):
    """The file begins anew then, and without being asked to go on."""
    path = tmp_path / "kept.jsonl"
    Cache("model", path).add("key", EFFECT)
    assert "key" not in Cache("other", path, resume=True)
    Cache("model", path).add("key", EFFECT)
    assert "key" not in Cache("model", path)


def test_a_line_cut_short_is_left_out(tmp_path):
    """What was whole before it counts, and the next run writes whole lines again."""
    path = tmp_path / "kept.jsonl"
    cache = Cache("model", path)
    cache.add("first", EFFECT)
    cache.add("second", EFFECT)
    path.write_text(path.read_text()[:-20])
    again = Cache("model", path, resume=True)
    assert "first" in again
    assert "second" not in again
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_without_a_file_effects_are_in_memory():
    """And there is nothing to remove."""
    cache = Cache("model")
    cache.add("key", EFFECT)
    assert cache["key"] == EFFECT
    cache.remove()


def test_a_folder_that_is_missing_is_an_error(tmp_path):
    """Before any work."""
    with pytest.raises(OutputError, match="does not exist"):
        Cache("model", tmp_path / "missing" / "kept.jsonl")
