"""Results print themselves."""

from dataclasses import dataclass

import pytest
from rich.text import Text

from zqc.report.printing import Printable


def said(result):
    """What the command says."""
    return Text.assemble(("Answer  ", "bold"), f"{result.answer} & <more>\n")


@dataclass(frozen=True)
class Result(Printable):
    """A result with one number."""

    text_by = (__name__, "said")

    answer: int


@pytest.fixture
def result(monkeypatch):
    """A result whose text can be found by the name of this module."""
    import sys
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, __name__, SimpleNamespace(said=said))
    return Result(42)


def test_print(result):
    """The text of the command, without its colours."""
    assert str(result) == "Answer  42 & <more>"


def test_notebook(result):
    """HTML with the styles, and with what would be markup escaped."""
    html = result._repr_html_()
    assert html.startswith("<pre")
    assert "font-weight: bold" in html
    assert "42 &amp; &lt;more&gt;" in html


def test_a_result_stays_a_value(result):
    """Its representation and its equality are those of its fields."""
    assert repr(result) == "Result(answer=42)"
    assert result == Result(42)
