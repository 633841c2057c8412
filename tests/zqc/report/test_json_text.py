"""JSON that every reader accepts."""

import json
from pathlib import Path

import pytest

from zqc.report.json_text import json_text


def test_what_json_has_no_form_for():
    """Paths become text and numbers that are not finite null, however deep; letters stay."""
    value = {"a": [float("nan"), (float("inf"), 0.5)], "b": {"c": Path("x/y")}, "d": "→", "e": True}
    text = json_text(value)
    read = json.loads(text, parse_constant=pytest.fail)
    assert read == {"a": [None, [None, 0.5]], "b": {"c": "x/y"}, "d": "→", "e": True}
    assert "→" in text
