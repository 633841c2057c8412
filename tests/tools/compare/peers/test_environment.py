"""Running a peer in an environment of its own: what needs none of them installed."""

import sys
import time
from pathlib import Path

import pytest

from tools.compare.peers.environment import Environment, SkippedError


def environment(folder, seconds=60.0):
    """An environment whose python is the one that runs the tests."""
    made = Environment(folder, (), seconds)
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    return made


@pytest.fixture
def runners(tmp_path, monkeypatch):
    """A folder that runners are looked for in."""
    folder = tmp_path / "runners"
    folder.mkdir()
    monkeypatch.setattr("tools.compare.peers.environment.RUNNERS", folder)
    return folder


def run(tmp_path, seconds=60.0, **config):
    """Run ``run_it.py``."""
    made = environment(tmp_path / "environment", seconds)
    paths = [tmp_path / name for name in ("model.onnx", "pictures.npz", "out.onnx")]
    return made.run("run_it.py", *paths, config)


def test_the_seconds_of_a_runner_come_back(tmp_path, runners):
    """The last line counts, whatever a library prints before it."""
    (runners / "run_it.py").write_text(
        "import sys\nopen(sys.argv[3], 'w').write('x')\nprint('chatter')\nprint('{\"seconds\": 7}')"
    )
    assert run(tmp_path) == 7


def test_a_failure_is_skipped_with_its_last_line(tmp_path, runners):
    """The reason is what the library said last."""
    (runners / "run_it.py").write_text("raise ValueError('no such layer')")
    with pytest.raises(SkippedError, match="running it failed: ValueError: no such layer"):
        run(tmp_path)


def test_a_runner_that_writes_nothing_is_skipped(tmp_path, runners):
    """Success without a file is none."""
    (runners / "run_it.py").write_text("print('{\"seconds\": 7}')")
    with pytest.raises(SkippedError, match="it wrote no file"):
        run(tmp_path)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path, runners):
    """The time limit holds, and nothing that the runner started goes on."""
    mark = tmp_path / "alive"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    (runners / "run_it.py").write_text(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    )
    with pytest.raises(SkippedError, match="running it took more than 1 s"):
        run(tmp_path, seconds=1.0)
    time.sleep(1.5)
    assert not mark.exists()


def test_what_cannot_be_installed_is_skipped(tmp_path, monkeypatch):
    """That there is no environment is a reason, not an error; the next time it is tried again."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho it is raining >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    made = Environment(tmp_path / "environment", ("a==1",), 60.0)
    for _ in range(2):
        with pytest.raises(SkippedError, match="making its environment failed: it is raining"):
            made.ensure()


def test_a_folder_is_taken_from_where_the_tool_was_started(tmp_path, monkeypatch):
    """An environment is made in its folder, however that is named, not where its commands run."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ $2 = venv ] && mkdir -p "$4/bin" && cp "$0" "$4/bin/python"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    made = Environment(Path("peers"), (), 60.0)
    with pytest.raises(SkippedError, match="installing it failed"):
        made.ensure()
    assert made.python.is_file()


def test_an_environment_is_made_once(tmp_path):
    """With the same requirements nothing is installed again."""
    made = Environment(tmp_path / "environment", ("a==1",), 60.0)
    made.folder.mkdir()
    (made.folder / "installed.txt").write_text("a==1")
    made.ensure()
    assert [path.name for path in made.folder.iterdir()] == ["installed.txt"]
