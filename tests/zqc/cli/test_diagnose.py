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
