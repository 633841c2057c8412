"""The command ``zqc sweep``."""

import json
from pathlib import Path

import pytest

from zqc.commands import sweep as module
from zqc.commands.sweep_result import Run, SweepResult
from zqc.errors import OptionError
from zqc.recipe.recipe import Recipe


@pytest.fixture
def asked(monkeypatch):
    """What the library gets."""
    calls = []

    def record(*_, **options):
        calls.append(options)
        raise OptionError("enough")

    monkeypatch.setattr(module, "sweep", record)
    return calls


def test_options_become_the_base_and_what_varies(zqc, asked):
    """Values as in TOML, names with dashes or underscores."""
    line = "--bits 4 --vary act-bits=8,4 --vary rounding=learned,refitted --vary extra_bits=0.1"
    assert zqc("sweep", "model.onnx", *line.split())[0] == 1
    assert asked[0]["recipe"] == Recipe(bits=4)
    assert asked[0]["vary"] == {
        "act_bits": (8, 4),
        "rounding": ("learned", "refitted"),
        "extra_bits": (0.1,),
    }
    assert (asked[0]["jobs"], asked[0]["dask"]) == (1, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Missing option '--vary'"),
        (["--vary", "bits"], "FIELD=VALUE"),
        (["--vary", "bits=8", "--vary", "bits=4"], "bits is varied twice"),
    ],
)
def test_what_cannot_be_varied(zqc, asked, options, said):
    """Wrong usage, before anything is read."""
    code, _, err = zqc("sweep", "model.onnx", *options)
    assert (code, asked) == (2, [])
    assert said in " ".join(err.split())


@pytest.mark.parametrize("as_json", [False, True])
def test_a_failed_recipe_shows_in_the_exit_code(zqc, monkeypatch, as_json):
    """With all that came of the others."""
    runs = (
        Run(values={"bits": 8}, recipe="", output=Path("8.onnx"), sqnr_db=30.0),
        Run(values={"bits": 4}, recipe="", error="too few"),
    )
    result = SweepResult(
        output=Path("out"), judged_on="", runs=runs, best=0, reused=0, bytes_float=9, seconds=1.0
    )
    monkeypatch.setattr(module, "sweep", lambda *_, **__: result)
    options = ["--json"] if as_json else []
    code, out, err = zqc("sweep", "model.onnx", "--vary", "bits=8,4", *options)
    assert code == 1
    if as_json:
        told = json.loads(out)
        assert told["runs"][1]["error"] == "too few"
        assert told["error"]["message"] == "1 of 2 recipes cannot be compiled"
    else:
        assert "bits 4: too few" in out
        assert "1 of 2 recipes cannot be compiled" in err
