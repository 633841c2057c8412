"""What the tests of the product share."""

import pytest

from zqc import cli


@pytest.fixture
def zqc(capsys):
    """Run a command and return its exit code, its standard output and its standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
