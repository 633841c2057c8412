"""The GitHub Action of docs/quantize.yml: its steps run as they stand, and stop in time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "docs" / "quantize.yml").read_text(encoding="utf-8"))
STEPS = {
    step["name"]: step
    for step in ACTION["jobs"]["quantize"]["steps"]
    if "run" in step and not step["run"].startswith("pip")
}


def run(step, folder, **changes):
    """Run one step in a folder, as the service does, with other values of its variables."""
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    command = binaries / "zqc"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zqc "$@"\n')
    command.chmod(0o755)
    summary = folder / "summary.md"
    values = {**ACTION["env"], **changes, "GITHUB_STEP_SUMMARY": summary, "PYTHONPATH": ROOT}
    values |= {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    environment = os.environ | {name: str(value) for name, value in values.items()}
    return subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path, detector_file):
    """A checkout with a detector in it."""
    (tmp_path / "model.onnx").write_bytes(Path(detector_file).read_bytes())
    return tmp_path


def test_the_action_gates_and_reports(folder):
    """Compile, check and summary leave what is uploaded; a demand that fails stops with 3."""
    changes = {"COMPILE_OPTIONS": "--effort quick --samples 2", "CHECK_OPTIONS": "--limit 2"}
    compiled = run(STEPS["Compile"], folder, **changes)
    assert compiled.returncode == 0, compiled.stderr
    # The small detector is of no known family: agreement cannot be demanded, and that is said.
    checked = run(STEPS["Check"], folder, **changes)
    assert checked.returncode == 1
    assert "--min-agreement" in checked.stderr
    without = {"run": STEPS["Check"]["run"].replace('--min-agreement "$MIN_AGREEMENT"', "")}
    checked = run(without, folder, **changes)
    assert checked.returncode == 0, checked.stderr
    told = run(STEPS["Say it in the pull request"], folder, **changes)
    assert told.returncode == 0, told.stderr
    assert "SQNR of" in (folder / "summary.md").read_text(encoding="utf-8")
    kept = ACTION["jobs"]["quantize"]["steps"][-1]["with"]["path"].split()
    files = [name for name in kept if name.endswith((".html", ".xml"))]
    assert files == ["compile.html", "check.html", "check.xml"]
    assert all((folder / name).stat().st_size for name in (*files, ACTION["env"]["QUANTIZED"]))
