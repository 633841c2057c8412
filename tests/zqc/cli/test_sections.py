"""Help under headings."""

import re

import click
from click.testing import CliRunner

from zqc.cli.sections import SectionedCommand, option_of


def test_options_stand_under_their_headings():
    """Options without a section come first, then the sections in the order of their options."""

    @click.command(cls=SectionedCommand)
    @click.argument("what")
    @option_of("Cold")("--ice", help="Frozen.")
    @click.option("--plain", help="Neither.")
    @option_of("Warm")("--tea", help="Hot.")
    @option_of("Cold")("--snow", help="White.")
    def command(**_):
        """Do it."""

    text = CliRunner().invoke(command, ["--help"]).output
    words = re.findall(r"^(\w+:|  --\w+)", text, re.MULTILINE)
    expected = "Usage: Options: --plain --help Cold: --ice --snow Warm: --tea"
    assert " ".join(word.strip() for word in words) == expected
