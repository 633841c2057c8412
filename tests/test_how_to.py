"""The snippets of docs/how-to.md: they compile, and ask zqc for what there is."""

import re
from pathlib import Path

import pytest

import zqc

HOW_TO = Path(__file__).parents[1] / "docs" / "how-to.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
SNIPPETS = [body for language, body in BLOCKS if language == "python"]


def test_the_document_has_snippets():
    """What the tests below go through is found at all."""
    assert len(SNIPPETS) >= 3


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_python_compiles(snippet):
    """Every Python snippet is complete: it compiles as it stands."""
    compile(snippet, "docs/how-to.md", "exec")


def test_python_names_exist():
    """What the snippets take from zqc is public."""
    names = {name for snippet in SNIPPETS for name in re.findall(r"\bzqc\.(\w+)", snippet)}
    assert names <= set(zqc.__all__)
