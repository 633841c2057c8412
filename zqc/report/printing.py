"""Results that print themselves as the command that makes them does."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from rich.text import Text

_WIDTH = 100


class Printable:
    """A result with a text: ``print(result)``, and a notebook shows it.

    Attributes:
        text_by: Module and function that make the text, loaded when it is asked for.
    """

    text_by: ClassVar[tuple[str, str]]

    def __str__(self) -> str:
        return self._text().plain.rstrip("\n")

    def _repr_html_(self) -> str:
        """The same with its styles, for Jupyter."""
        from rich.console import Console

        console = Console(record=True, file=io.StringIO(), width=_WIDTH)
        console.print(self._text(), soft_wrap=True)
        form = '<pre style="white-space:pre-wrap;line-height:1.3">{code}</pre>'
        return console.export_html(inline_styles=True, code_format=form)

    def _text(self) -> Text:
        module, function = self.text_by
        text: Text = getattr(import_module(module), function)(self)
        return text
