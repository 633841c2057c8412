"""Help for 80 columns: options under headings, examples at the end, no word broken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

WIDTH = 80


class Formatter(click.HelpFormatter):
    """Breaks lines at spaces only; click's own also breaks at hyphens, and long words anywhere."""

    def write_text(self, text: str) -> None:
        """Write paragraphs, which empty lines part."""
        indent = " " * self.current_indent
        paragraphs = re.split(r"\n\n+", text.strip())
        self.write("\n\n".join(_filled(each, self.width, indent) for each in paragraphs) + "\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 23, col_spacing: int = 2
    ) -> None:
        """Write terms and what they mean, which hangs to the right of them."""
        rows = list(rows)
        column = min(max(len(term) for term, _ in rows), col_max) + col_spacing
        before = " " * self.current_indent
        for term, meaning in rows:
            self.write(f"{before}{term:<{column}}" if len(term) <= col_max else f"{before}{term}\n")
            indent = before + " " * column
            filled = _filled(meaning, self.width, indent)
            self.write((filled.lstrip() if len(term) <= col_max else filled) + "\n")


class Context(click.Context):
    """Of every command, for the help."""

    formatter_class = Formatter


class SectionedGroup(click.Group):
    """The command line as a whole."""

    context_class = Context

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's name
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the commands with their first sentences, which click would cut short."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(limit=2 * WIDTH))
                    for name, command in sorted(self.commands.items())
                ]
            )


class SectionedOption(click.Option):
    """An option that knows the heading it stands under."""

    def __init__(self, *arguments: Any, section: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help shows the sections in the order of their first options.

    Args:
        arguments: What click's command takes.
        tables: Headings of further sections, each with terms and what they mean.
        examples: Command lines.
        settings: What click's command takes.
    """

    context_class = Context

    def __init__(
        self,
        *arguments: Any,
        tables: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        examples: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.tables = tables or {}
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; those without a section come first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or isinstance(parameter, click.Argument):
                continue
            term, meaning = _plainer(*record)
            of_section = (
                sections.setdefault(parameter.section, [])
                if isinstance(parameter, SectionedOption)
                else others
            )
            of_section.append((term, meaning))
        for heading, records in [("Options", others), *sections.items()]:
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's name
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the tables and the examples."""
        for heading, rows in self.tables.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples))


def option_of(section: str) -> Callable[..., Callable[[F], F]]:
    """``click.option`` for the options of one section."""
    return partial(click.option, cls=SectionedOption, section=section)


def _plainer(term: str, meaning: str) -> tuple[str, str]:
    """A record of click without what goes without saying: ranges, and every flag twice."""
    term = re.sub(r"--(\S+) / --no-\1", r"--[no-]\1", term)
    bounds = r"(\d+<=)?x[<>]=\d+"
    return term, re.sub(rf"; {bounds}(?=\])|  \[{bounds}\]", "", meaning)


def _filled(text: str, width: int, indent: str) -> str:
    """Text with every line behind ``indent``; what stands in short brackets stays together."""
    glued = re.sub(r"\[[^\[\]]{,30}\]", lambda match: match[0].replace(" ", "\xa0"), text)
    filled = textwrap.fill(
        " ".join(glued.split(" ")),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace("\xa0", " ")
