"""What a command tells when it begins and ends, and to whom."""

import dataclasses
import json
import logging
import math
from pathlib import Path

import pytest
from rich.text import Text

from zqc.cli.outcome import EXIT_ERROR, EXIT_LIMIT, EXIT_UNEXPECTED, fail, print_result, working
from zqc.errors import ModelError


@dataclasses.dataclass(frozen=True)
class Result:
    """Some result."""

    value: float = math.nan
    path: Path = Path("a/b")


@pytest.fixture
def level(caplog):
    """Set how much the log tells."""

    def set_level(value):
        caplog.set_level(value, logger="zqc")

    set_level(logging.WARNING)
    return set_level


def test_exit_codes_differ():
    """A limit that does not hold is told from an error, and from a wrong command line (2)."""
    assert len({0, EXIT_ERROR, 2, EXIT_LIMIT, EXIT_UNEXPECTED}) == 5


def test_what_a_command_works_on_is_said_at_once(capsys):
    """Before anything else happens, on standard error."""
    with working("Checking", Path("folder/model.onnx")) as progress:
        assert capsys.readouterr().err == "Checking model.onnx\n"
        progress.say("more")
    assert capsys.readouterr() == ("", "more\n")


def test_results_are_text_or_json(capsys):
    """Text by the function that makes it; JSON without it, NaN as null."""
    print_result(Result(), lambda result: Text(f"at {result.path}"), as_json=False)
    assert capsys.readouterr() == ("at a/b\n", "")
    print_result(Result(), pytest.fail, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"value": None, "path": "a/b"}


def test_an_error_goes_with_its_result(capsys):
    """Where there is one, so that a program reads one object in any case."""
    fail(ModelError("x"), "no model", EXIT_ERROR, as_json=True, result=Result(1.5))
    found = json.loads(capsys.readouterr().out)
    error = {"type": "ModelError", "message": "no model"}
    assert found == {"value": 1.5, "path": "a/b", "error": error}


@pytest.mark.parametrize(
    ("code", "logged", "traced", "asked"),
    [
        (EXIT_ERROR, logging.WARNING, False, False),
        (EXIT_ERROR, logging.INFO, False, False),
        (EXIT_ERROR, logging.DEBUG, True, False),
        (EXIT_UNEXPECTED, logging.WARNING, False, True),
        (EXIT_UNEXPECTED, logging.INFO, True, False),
    ],
)
def test_where_it_happened_is_shown_to_who_asks(capsys, level, code, logged, traced, asked):
    """An error of the user's has a traceback with -vv, a defect with -v; else it asks for one."""
    level(logged)
    try:
        raise ModelError("no model")
    except ModelError as error:
        fail(error, str(error), code, as_json=False)
    said = capsys.readouterr().err
    assert ("Traceback" in said) is traced
    assert ("--verbose shows where" in said) is asked
