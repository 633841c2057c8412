"""Help with the options under headings, which click has no form for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class SectionedOption(click.Option):
    """An option that knows the heading it stands under."""

    def __init__(self, *arguments: Any, section: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help shows the sections in the order of their first options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options; those without a section come first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None or isinstance(parameter, click.Argument):
                continue
            if isinstance(parameter, SectionedOption):
                sections.setdefault(parameter.section, []).append(record)
            else:
                others.append(record)
        for heading, records in [("Options", others), *sections.items()]:
            with formatter.section(heading):
                formatter.write_dl(records)


def option_of(section: str) -> Callable[..., Callable[[F], F]]:
    """``click.option`` for the options of one section."""
    return partial(click.option, cls=SectionedOption, section=section)
