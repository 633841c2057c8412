"""From a page to one HTML file: no network, no date, the same bytes from the same page."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from zqc.files.atomic import atomic_write
from zqc.report.html import charts, formats
from zqc.report.html.tags import place_tags

if TYPE_CHECKING:
    from pathlib import Path

    from zqc.report.html.page import Page

GOOD_DB = 20.0
"""From here on the noise of quantization has a hundredth of the power of the signal."""


def render(page: Page) -> str:
    """Return the HTML of a page."""
    return _environment().get_template("page.html").render(page=page)


def write(path: Path, page: Page) -> None:
    """Write a page.

    Raises:
        OutputError: It cannot be written there.
    """
    with atomic_write(path) as file:
        file.write(render(page).encode())


@cache
def _environment() -> Environment:
    """The templates, with what they may use."""
    environment = Environment(
        loader=PackageLoader("zqc.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formats.number,
        signed=formats.signed,
        percent=formats.percent,
        size=formats.size,
        bits=formats.bits,
        log2=formats.log2,
        added=formats.added,
        key=formats.sort_key,
    )
    environment.globals.update(
        charts=charts, place_tags=place_tags, known=formats.known, good_db=GOOD_DB, nan=math.nan
    )
    return environment
