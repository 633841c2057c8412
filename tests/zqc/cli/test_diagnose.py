"""``zqc sensitivity`` and ``zqc debug`` on the command line."""

import json

import numpy as np
import onnx
import pytest

from tests.diagnosed import RANGE, proto, tensors
from zqc.commands import sensitivity as command
from zqc.commands.compile import compile_model


@pytest.fixture
def files(tmp_path):
    """A float model, pictures, and the model at 8 bits."""
    path = tmp_path / "model.onnx"
    onnx.save(proto(), path)
    pictures = tmp_path / "pictures.npz"
    np.savez(pictures, images=tensors())
    result = compile_model(path, images=tensors(), input_format=RANGE, threads=1)
    return path, pictures, result.output


def test_sensitivity(zqc, files):
    """A summary, or all of it as JSON; nothing is left behind."""
    path, pictures, _ = files
    options = ["--images", pictures, "--bits", "4", "--input-range=0:1", "--threads", "1"]
    options += ["--jobs", "1", "--budget", "0.5"]
    code, out, err = zqc("sensitivity", path, *options)
    assert code == 0, err
    assert "Suggestion" in out
    assert f"Command          zqc compile {path} --images {pictures} --bits 4" in out
    assert "Evaluating layers" in err
    assert not path.with_name("model.sensitivity.jsonl").exists()
    code, out, _ = zqc("sensitivity", path, *options, "--json")
    assert code == 0
    assert [layer["name"] for layer in json.loads(out)["layers"]][:2] == ["stem", "depthwise"]


def test_an_interruption_says_how_to_go_on(zqc, files, monkeypatch):
    """With the file that holds what was evaluated."""
    path, pictures, _ = files

    def interrupted(*_, **__):
        path.with_name("model.sensitivity.jsonl").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "sensitivity", interrupted)
    code, _, err = zqc("sensitivity", path, "--images", pictures, "--input-range=0:1")
    assert code == 130
    assert "--resume goes on from there" in err


def test_debug(zqc, files):
    """The verdict; the same as JSON."""
    path, pictures, output = files
    code, out, err = zqc("debug", path, output, "--images", pictures, "--threads", "1")
    assert code == 0, err
    assert out.startswith("Verdict          no layer is out of order")
    code, out, _ = zqc("debug", path, output, "--images", pictures, "--json")
    assert code == 0
    assert json.loads(out)["ranked"][0]["name"]


def test_bits_of(zqc, files):
    """A pattern without bits is a mistake that the command line explains."""
    code, _, err = zqc("sensitivity", files[0], "--bits-of", "deep")
    assert code == 2
    assert "write GLOB=N" in err


def test_reports(zqc, files, tmp_path):
    """Each command writes its page, with the command that makes the same again."""
    path, pictures, output = files
    report = tmp_path / "debug.html"
    options = ["--images", pictures, "--threads", "1", "--report", report]
    code, _, err = zqc("debug", path, output, *options)
    assert code == 0, err
    html = report.read_text(encoding="utf-8")
    assert "Nothing is out of order" in html
    assert f"zqc debug {path} {output} --images {pictures}" in html
    assert f"zqc sensitivity {path} --images {pictures}" in html
    assert "act_bits = 8" in html  # the recipe in the compiled model
    code, _, err = zqc("sensitivity", path, *options, "--bits", "4", "--jobs", "1")
    assert code == 0, err
    assert f"zqc sensitivity {path} --images {pictures}" in report.read_text(encoding="utf-8")


def test_reports_that_cannot_be_written(zqc, files, tmp_path, monkeypatch):
    """They are refused before any work."""
    path, pictures, output = files
    for work in ("debug._debugged", "sensitivity.inputs.begin"):
        monkeypatch.setattr(f"zqc.commands.{work}", lambda *_, **__: pytest.fail("worked"))
    missing = tmp_path / "missing" / "report.html"
    code, _, err = zqc("debug", path, output, "--report", missing)
    assert (code, "does not exist" in err) == (1, True)
    code, _, err = zqc("debug", path, output, "--report", output)
    assert (code, "is the input" in err) == (1, True)
    code, _, err = zqc("sensitivity", path, "--images", pictures, "--report", pictures)
    assert (code, "is the input" in err) == (1, True)
    both = tmp_path / "both.html"
    code, _, err = zqc("sensitivity", path, "--report", both, "--cache", both)
    assert (code, "two outputs are one file" in err) == (1, True)
