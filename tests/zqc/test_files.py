"""Files and folders appear complete or not at all, whatever interrupts the work."""

import errno
import os
from pathlib import Path

import pytest

from zqc.errors import OutputError
from zqc.files import atomic_directory, atomic_write, to_path, write_text


def entries(folder):
    """Names of everything in a folder, hidden files included."""
    return sorted(entry.name for entry in folder.iterdir())


def no_space(*arguments, **options):
    """Fail as the system does when a disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_write(tmp_path):
    """A file appears under its name alone, with the permissions that any new file has."""
    path = tmp_path / "out.onnx"
    with atomic_write(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert entries(tmp_path) == ["out.onnx"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_write_replaces(tmp_path):
    """An older file is replaced."""
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_write_interrupted(error, tmp_path):
    """An error or Ctrl-C in the middle leaves the old file and nothing else."""
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")

    def interrupted():
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["out.onnx"]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "tempfile.mkstemp"])
def test_write_full_disk(step, tmp_path, monkeypatch):
    """A full disk, at whichever step it shows, is an OutputError and leaves nothing behind."""
    monkeypatch.setattr(step, no_space)

    def write():
        with atomic_write(tmp_path / "out.onnx") as file:
            file.write(b"content")

    with pytest.raises(OutputError, match=r"no space left on the device of .*out\.onnx"):
        write()
    assert entries(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_write_to_a_device(tmp_path):
    """A device is no place for a model, even by way of a link, and is not replaced."""
    link = tmp_path / "out.onnx"
    link.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no regular file"), atomic_write(link):
        pass
    assert entries(tmp_path) == ["out.onnx"]


def test_write_nowhere(tmp_path):
    """A missing folder, a folder as the file and a file as the folder are named."""
    with pytest.raises(OutputError, match="mkdir -p"), atomic_write(tmp_path / "no" / "out.onnx"):
        pass
    with pytest.raises(OutputError, match="is a folder"), atomic_write(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"), atomic_write(tmp_path / "file" / "out"):
        pass


def test_write_no_permission(tmp_path, monkeypatch):
    """A folder that may not be written to is named before anything is written."""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission"), atomic_write(tmp_path / "out.onnx"):
        pass


def fill(path, names):
    """Write a folder with some files."""
    with atomic_directory(path) as folder:
        for name in names:
            (folder / name).touch()


def test_directory(tmp_path):
    """A folder appears with its files, over an empty one, and over an older one of its kind."""
    path = tmp_path / "pictures"
    fill(path, ["a"])
    fill(path, ["a", "b"])
    assert entries(path) == ["a", "b"]
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "empty", ["c"])
    assert entries(tmp_path) == ["empty", "pictures"]


def test_directory_with_other_files(tmp_path):
    """A folder with files that the new one does not have is left alone."""
    (tmp_path / "precious").touch()
    path = tmp_path
    with pytest.raises(OutputError, match=r"holds other files \(precious\)"):
        fill(path, ["a"])
    assert entries(tmp_path) == ["precious"]
    assert not [e for e in entries(tmp_path.parent) if e.startswith(f".{tmp_path.name}.")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_directory_interrupted(error, tmp_path):
    """An error or Ctrl-C leaves no folder."""

    def interrupted():
        with atomic_directory(tmp_path / "pictures") as folder:
            (folder / "a").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert entries(tmp_path) == []


def test_directory_full_disk(tmp_path):
    """A full disk while the files are written is an OutputError and leaves no folder."""

    def write():
        with atomic_directory(tmp_path / "pictures"):
            no_space()

    with pytest.raises(OutputError, match="no space left"):
        write()
    assert entries(tmp_path) == []


def test_directory_over_a_file(tmp_path):
    """A file is not replaced by a folder, and that is said before any work."""
    (tmp_path / "pictures").touch()
    with pytest.raises(OutputError, match="is a file"), atomic_directory(tmp_path / "pictures"):
        pytest.fail("the work began")


def test_directory_with_files_that_may_go(tmp_path):
    """Files that are named may go with the old folder, others may not, in folders below neither."""
    path = tmp_path / "pictures"
    fill(path, ["a", "checkpoint"])
    with pytest.raises(OutputError, match=r"holds other files \(checkpoint\)"):
        fill(path, ["a"])

    def fill_without():
        with atomic_directory(path, replaced={"checkpoint"}) as folder:
            (folder / "a").touch()
            (folder / "below").mkdir()

    fill_without()
    assert entries(path) == ["a", "below"]
    (path / "below" / "precious").touch()
    with pytest.raises(OutputError, match=r"holds other files \(below/precious\)"):
        fill_without()
    assert entries(path / "below") == ["precious"]
    assert entries(tmp_path) == ["pictures"]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("before", [True, False])
def test_directory_interrupted_while_it_takes_its_place(step, before, tmp_path, monkeypatch):
    """Ctrl-C before or after either of the two renames: one folder or the other, whole."""
    path = tmp_path / "pictures"
    fill(path, ["a"])
    replace, calls = Path.replace, iter(range(1, 100))

    def interrupted(self, target):
        reached = next(calls) == step
        if reached and before:
            raise KeyboardInterrupt
        replace(self, target)
        if reached:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(path, ["a", "b"])
    assert entries(tmp_path) == ["pictures"]
    assert entries(path) == (["a", "b"] if (step, before) == (2, False) else ["a"])


def test_a_string_is_a_path():
    """A string, a path and nothing become a path, the same path and nothing."""
    assert to_path("a/b.onnx") == to_path(Path("a/b.onnx")) == Path("a/b.onnx")
    assert to_path(None) is None


def test_names_that_are_no_text_can_be_written_about(tmp_path):
    """A byte of a file name that is no UTF-8 becomes a question mark; the rest is as it was."""
    write_text(tmp_path / "a.txt", "größe\udc80層\n")
    assert (tmp_path / "a.txt").read_bytes() == "größe?層\n".encode()
