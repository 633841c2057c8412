"""What Tab offers."""

import shutil

import onnx
import pytest
from click.shell_completion import ShellComplete

from zqc import targets
from zqc.cli.main import cli
from zqc.recipe.recipe import PRESETS


def offered(*words):
    """What is offered for the last word of a command line, with its kind where it has one."""
    *before, incomplete = map(str, words)
    items = ShellComplete(cli, {}, "zqc", "_ZQC_COMPLETE").get_completions(before, incomplete)
    return [item.value if item.type == "plain" else (item.type, item.value) for item in items]


def test_targets():
    """All targets, or those that begin so."""
    assert offered("compile", "--target", "") == list(targets.names())
    assert offered("compile", "--target", "open") == ["openvino"]


def test_recipes():
    """Presets, and files as the shell knows them."""
    assert offered("compile", "--recipe", "") == [*PRESETS, ("file", "")]
    assert offered("synthesize", "--recipe", "b") == ["best", ("file", "b")]


def test_layers(detector_file):
    """Layers of the model that stands before, wherever it stands."""
    model = onnx.load(detector_file)
    names = iter(("stem", "body", "head"))
    for node in model.graph.node:
        node.name = next(names) if node.op_type == "Conv" else ""
    onnx.save(model, detector_file)
    assert offered("compile", detector_file, "--keep-float", "") == ["stem", "body", "head"]
    assert offered("compile", detector_file, "--keep-float", "b") == ["body"]
    words = ("compile", "--bits", "4", detector_file, "--seed", "1", "--keep-float", "stem")
    assert offered(*words, "--keep-float", "h") == ["head"]


@pytest.mark.parametrize("content", [None, b"", b"no model", "folder"])
def test_no_layers(tmp_path, content):
    """A model that is missing or cannot be read is nothing to talk about."""
    path = tmp_path / "model.onnx"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    assert offered("compile", path, "--keep-float", "") == []
    assert offered("compile", "--keep-float", "") == []


def test_choices_and_options():
    """Choices and options come from click."""
    assert offered("compile", "--effort", "t") == ["thorough"]
    assert "--keep-float" in offered("compile", "--k")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_the_shells(zqc, monkeypatch, capsys, shell):
    """The scripts that docs/recipe.md tells to load are printed."""
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    monkeypatch.setenv("_ZQC_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit) as left:
        zqc()
    assert left.value.code == 0
    assert "_ZQC_COMPLETE" in capsys.readouterr().out
