"""What happens without the packages that zqc is installed without unless asked."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zqc.errors import MissingPackageError
from zqc.runtime import extras

ROOT = Path(__file__).parents[3]


@pytest.fixture
def without(tmp_path):
    """Run a command in a process where some packages cannot be imported."""

    def run(packages, *arguments):
        script = (
            "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(',')))\n"
            "from zqc.cli.main import main; main()"
        )
        command = [sys.executable, "-c", script, ",".join(packages), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def scenes(tmp_path):
    """Two pictures with a labelled box each: the folder and the label file."""
    folder, labels = tmp_path / "scenes", tmp_path / "labels.json"
    folder.mkdir()
    images, boxes = [], []
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png"})
        boxes.append({"id": index + 1, "image_id": index, "category_id": 1, "bbox": [2, 2, 8, 8]})
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
    labels.write_text(json.dumps(content))
    return folder, labels


ALL = (extras.RUNTIME, extras.COCO, extras.PLOTS)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["check", "--help"], ["targets"], ["compile", "--nix"]]
)
def test_what_runs_no_model_works_without(without, arguments):
    """Help, version, the list of targets and a mistyped option need none of them."""
    code, out, err = without(ALL, *arguments)
    assert code == (2 if arguments[-1] == "--nix" else 0), err
    assert out or "No such option" in err


def test_inspect_works_without(without, detector_file):
    """Looking at a model runs nothing."""
    code, out, err = without(ALL, "inspect", detector_file)
    assert code == 0, err
    assert "BatchNorm" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", "net.onnx"],
        ["synthesize", "net.onnx", "-o", "out"],
        ["stats", "net.onnx", "--images", "scenes", "-o", "card.json"],
        ["check", "net.onnx", "net.onnx", "--images", "scenes"],
        ["bench", "net.onnx", "net.onnx"],
    ],
)
def test_without_a_runtime(without, arguments):
    """One line says what to type, with exit code 1 and without a traceback."""
    expected = (
        "Error: running models needs onnxruntime: "
        "pip install 'zqc[cpu]', or 'zqc[gpu]' for NVIDIA GPUs"
    )
    code, out, err = without([extras.RUNTIME], *arguments)
    assert (code, out, err.splitlines()[-1]) == (1, "", expected)
    assert "Traceback" not in err


def test_without_a_runtime_as_json(without):
    """Whoever reads the output finds the same in it."""
    code, out, _ = without([extras.RUNTIME], "compile", "net.onnx", "--json")
    error = json.loads(out)["error"]
    assert (code, error["type"]) == (1, "MissingPackageError")
    assert "pip install 'zqc[cpu]'" in error["message"]


def test_labels_without_coco(without, detector_file, scenes):
    """The command ends before it looks at models or pictures."""
    folder, labels = scenes
    code, out, err = without(
        [extras.COCO], "check", "no.onnx", detector_file, "--images", folder, "--labels", labels
    )
    said = "Error: average precision needs faster_coco_eval: pip install 'zqc[coco]'"
    assert (code, out, err.splitlines()[-1]) == (1, "", said)


def test_synthesize_without_plots(without, detector_file, tmp_path):
    """Everything but the plots is written, and a warning says what they need."""
    fast = ["--effort", "quick", "--samples", "2", "--threads", "1"]
    code, _, err = without([extras.PLOTS], "synthesize", detector_file, "-o", "made", *fast)
    assert code == 0, err
    assert (
        "WARNING: drawing the plots of the report needs matplotlib: pip install 'zqc[plots]'" in err
    )
    report = {path.name for path in (tmp_path / "made" / "report").iterdir()}
    assert report == {"contact_sheet.png", "statistics.json"}


def test_a_broken_package_is_told_from_a_missing_one():
    """What the import said stands in the message, unless the package just is not there."""
    broken = ImportError("libcudart.so.12: cannot open shared object file", name="pybind11_state")
    gone = ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
    messages = [
        str(extras.missing(extras.RUNTIME, "running", error)) for error in (broken, gone, None)
    ]
    assert "onnxruntime, which cannot be imported (libcudart.so.12: cannot" in messages[0]
    assert messages[1] == messages[2]
    assert "imported" not in messages[1]


def test_required_packages(monkeypatch):
    """One that is there is accepted, one that is not is an error."""
    extras.require(extras.COCO, "this")
    monkeypatch.setitem(sys.modules, extras.COCO, None)
    with pytest.raises(MissingPackageError, match="this needs faster_coco_eval"):
        extras.require(extras.COCO, "this")


def test_the_extras_are_there():
    """What a message says to type is declared, and brings what is missing."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra, package in (
        ("coco", "faster-coco-eval"),
        ("plots", "matplotlib"),
        ("cpu", "onnxruntime"),
        ("gpu", "onnxruntime-gpu"),
    ):
        assert [entry.split(">=")[0] for entry in declared[extra]] == [package]
    assert declared["all"] == ["zqc[cpu,coco,plots]"]
