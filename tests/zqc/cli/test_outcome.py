"""How a command begins and ends."""

import json
from pathlib import Path

from zqc.cli.outcome import EXIT_ERROR, fail, working


def test_an_error_is_one_line(capsys):
    """However it was broken; the code is given back."""
    assert fail(ValueError(), "first\n  second", EXIT_ERROR, as_json=False) == EXIT_ERROR
    assert "first second" in capsys.readouterr().err


def test_an_error_moves_no_cursor(capsys):
    """What a file says cannot colour the terminal, or write over what stands there."""
    fail(ValueError(), "node \x1b[2Ja\x07\x9b of größe.onnx", EXIT_ERROR, as_json=False)
    assert capsys.readouterr().err == "Error: node �[2Ja�� of größe.onnx\n"


def test_an_error_is_an_object(capsys):
    """With its type, where JSON is asked for."""
    fail(ValueError(), "wrong", EXIT_ERROR, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said == {"error": {"type": "ValueError", "message": "wrong"}}


def test_work_is_said_at_once(capsys):
    """What is done to which model."""
    with working("Compiling", Path("a/model.onnx")):
        pass
    assert "Compiling model.onnx" in capsys.readouterr().err
