"""The oldest versions as constraints."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bounds(tmp_path):
    """Run the tool on a project with some requirements."""

    def run(*requirements):
        path = tmp_path / "pyproject.toml"
        path.write_text(
            '[build-system]\nrequires = ["setuptools>=77"]\n'
            f'[project]\nname = "net"\ndependencies = {list(requirements)}\n'
            '[project.optional-dependencies]\nall = ["net[fast]"]\nfast = ["quick-er >= 2.1, <3"]\n'
        )
        command = [sys.executable, str(ROOT / "tools" / "lower_bounds.py"), str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_every_requirement_at_its_lower_bound(bounds):
    """Of the build, the project and its extras; not the project itself, and no conditions."""
    done = bounds("a>=1.2", "b[c]==3.0.1; python_version >= '3.12'", "d.e~=4.5")
    expected = ["setuptools==77", "a==1.2", "b==3.0.1", "d.e==4.5", "quick-er==2.1"]
    assert done.stdout.splitlines() == expected


def test_a_requirement_without_one_is_refused(bounds):
    """Its oldest version could not be tested."""
    done = bounds("a<2; python_version >= '3.12'")
    assert done.returncode == 1
    assert "has no lower bound" in done.stderr


def test_this_project():
    """Every dependency has one, as pip reads it."""
    tool = [sys.executable, str(ROOT / "tools" / "lower_bounds.py")]
    lines = subprocess.run(tool, capture_output=True, text=True, check=True).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert requirement.partition(",")[0].replace(">=", "==") in lines


def test_what_is_pinned_is_allowed():
    """No version of constraints.txt is older than pyproject.toml allows, and none is forgotten."""
    tool = [sys.executable, str(ROOT / "tools" / "lower_bounds.py")]
    lines = subprocess.run(tool, capture_output=True, text=True, check=True).stdout.splitlines()
    pinned = dict(
        line.replace("_", "-").lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    for line in lines:
        name, bound = line.split("==")
        if name != "onnxruntime-gpu":  # only one of the two can be installed
            assert _numbers(pinned[name]) >= _numbers(bound), name


def _numbers(version):
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
