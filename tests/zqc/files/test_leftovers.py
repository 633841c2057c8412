"""What a killed run leaves is removed by the next one; what a living one uses is not."""

import os
import subprocess
import sys

import pytest

from zqc.files.atomic import atomic_directory, atomic_write
from zqc.files.leftovers import clear, temporary
from zqc.files.places import check_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks that die with a process")

KILLED = """
import os, pathlib, sys
from zqc.files.atomic import atomic_directory, atomic_write
folder = pathlib.Path(sys.argv[1])
if sys.argv[2] == "write":
    with atomic_write(folder / "out.onnx") as file:
        file.write(b"half")
        os._exit(9)
replace, calls = pathlib.Path.replace, []
def replaced(self, target):
    replace(self, target)
    calls.append(self)
    if len(calls) == int(sys.argv[2]):
        os._exit(9)
pathlib.Path.replace = replaced
with atomic_directory(folder / "pictures") as new:
    (new / "a").write_text("new")
"""


def killed(folder, step):
    """End a process without a word in the middle of its work."""
    done = subprocess.run([sys.executable, "-c", KILLED, folder, step], check=False)
    assert done.returncode == 9
    assert any(name.endswith(".zqc") for name in names(folder))


def names(folder):
    """Names of everything in a folder, hidden files included."""
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file(tmp_path):
    """Half a file of a killed run goes when any output is written beside it."""
    killed(tmp_path, "write")
    with atomic_write(tmp_path / "other.onnx") as file:
        file.write(b"whole")
    assert names(tmp_path) == ["other.onnx"]


@pytest.mark.parametrize(("step", "content"), [("1", "old"), ("2", "new")])
def test_a_folder(step, content, tmp_path):
    """Killed between its two renames, a folder gets its place back; after both it has its own."""
    with atomic_directory(tmp_path / "pictures") as new:
        (new / "a").write_text("old")
    killed(tmp_path, step)
    assert (tmp_path / "pictures").exists() == (step == "2")
    check_directory(tmp_path / "pictures", {"a"})
    assert names(tmp_path) == ["pictures"]
    assert (tmp_path / "pictures" / "a").read_text() == content


def test_only_what_nobody_uses(tmp_path):
    """Temporaries of a running process stay, of this one too, and so do files of others."""
    others = [".a.zqc", "b.0123456789ab.zqc", ".c.0123456789ab.zqc.txt", ".d.0123456789xy.zqc"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".e.0123456789ab.zqc").symlink_to(tmp_path / ".a.zqc")
    with temporary(tmp_path / "out") as file, temporary(tmp_path / "dir", folder=True) as folder:
        clear(tmp_path)
        assert file.is_file()
        assert folder.is_dir()
    assert names(tmp_path) == sorted([*others, ".e.0123456789ab.zqc"])


LIVING = """
import pathlib, sys
from zqc.files.atomic import atomic_directory, atomic_write
folder = pathlib.Path(sys.argv[1])
with atomic_directory(folder / "pictures") as new, atomic_write(folder / "out.onnx") as file:
    print("ready", flush=True)
    sys.stdin.readline()
    (new / "a").write_text("whole")
    file.write(b"whole")
"""


def test_of_a_living_process(tmp_path):
    """What another process works on stays, whatever is written beside it or in its place."""
    command = [sys.executable, "-c", LIVING, tmp_path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        process.stdout.readline()
        in_work = names(tmp_path)
        with atomic_write(tmp_path / "out.onnx") as file:
            file.write(b"of this one")
        check_directory(tmp_path / "pictures")
        assert names(tmp_path) == [*in_work, "out.onnx"]
        process.communicate("go on\n")
    assert process.returncode == 0
    assert names(tmp_path) == ["out.onnx", "pictures"]
    assert (tmp_path / "out.onnx").read_bytes() == b"whole"
    assert names(tmp_path / "pictures") == ["a"]


def test_without_locks(tmp_path, monkeypatch):
    """Where the system has none, as on Windows, outputs are written, and nothing is removed."""
    (tmp_path / ".out.0123456789ab.zqc").touch()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr("zqc.files.leftovers.fcntl")
    with atomic_write(tmp_path / "out") as file:
        file.write(b"whole")
    with atomic_directory(tmp_path / "pictures") as new:
        (new / "a").touch()
    assert names(tmp_path) == [".out.0123456789ab.zqc", "out", "pictures"]


def test_of_another_user(tmp_path, monkeypatch):
    """What another user has left is left."""
    (tmp_path / ".out.0123456789ab.zqc").touch()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    clear(tmp_path)
    assert names(tmp_path) == [".out.0123456789ab.zqc"]


def test_taken_for_a_leftover(tmp_path, monkeypatch):
    """Where another run removes a temporary before it is locked, there is a second one."""
    made, opened = [], os.open

    def removed(place, flags, mode=0o777):
        if not made and str(place).endswith(".zqc") and not flags & os.O_CREAT:
            made.append(place)
            os.unlink(place)  # noqa: PTH108 - patched is the function beside it
        return opened(place, flags, mode)

    monkeypatch.setattr("os.open", removed)
    with temporary(tmp_path / "out") as place:
        assert made
        assert place not in made
        assert place.is_file()
    assert names(tmp_path) == []
