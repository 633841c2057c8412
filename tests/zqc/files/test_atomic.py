"""Files and folders appear complete or not at all, whatever interrupts the work."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from zqc.errors import OutputError
from zqc.files.atomic import atomic_directory, atomic_write, write_text


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


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "tempfile.TemporaryFile"])
def test_write_full_disk(step, tmp_path, monkeypatch):
    """A full disk, at whichever step it shows, is an OutputError and leaves nothing behind."""
    monkeypatch.setattr(step, no_space)

    def write():
        with atomic_write(tmp_path / "out.onnx") as file:
            file.write(b"content")

    with pytest.raises(OutputError, match=r"no space left on the device of .*out\.onnx"):
        write()
    assert entries(tmp_path) == []


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


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("older", [True, False])
def test_directory_of_which_another_process_is_faster(step, older, tmp_path, monkeypatch):
    """Whoever comes last wins, also where the other comes right before a rename."""
    path = tmp_path / "pictures"
    if older:
        fill(path, ["a"])
    replace, calls = Path.replace, iter(range(1, 100))

    def late(self, target):
        if next(calls) == step:
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", replace)
                shutil.rmtree(path, ignore_errors=True)
                if step == 2 or not older:
                    fill(path, ["b"])
        replace(self, target)

    monkeypatch.setattr(Path, "replace", late)
    fill(path, ["a", "b", "c"])
    assert entries(tmp_path) == ["pictures"]
    assert entries(path) == ["a", "b", "c"]


def test_names_that_are_no_text_can_be_written_about(tmp_path):
    """A byte of a file name that is no UTF-8 becomes a question mark; the rest is as it was."""
    write_text(tmp_path / "a.txt", "größe\udc80層\n")
    assert (tmp_path / "a.txt").read_bytes() == "größe?層\n".encode()


def test_a_link_stays(tmp_path):
    """Behind a link what it leads to is replaced, a file as well as a folder."""
    (tmp_path / "store").mkdir()
    (tmp_path / "out.onnx").symlink_to("store/real.onnx")
    (tmp_path / "pictures").symlink_to(tmp_path / "store" / "folder")
    for content in ("old", "new"):
        write_text(tmp_path / "out.onnx", content)
        with atomic_directory(tmp_path / "pictures") as folder:
            (folder / "a").write_text(content)
        assert (tmp_path / "store" / "real.onnx").read_text() == content
        assert (tmp_path / "store" / "folder" / "a").read_text() == content
    assert (tmp_path / "out.onnx").is_symlink()
    assert (tmp_path / "pictures").is_symlink()
    assert entries(tmp_path / "store") == ["folder", "real.onnx"]


def test_the_longest_name(tmp_path):
    """A name as long as the file system allows can be written under."""
    name = "x" * os.pathconf(tmp_path, "PC_NAME_MAX")
    write_text(tmp_path / name, "content")
    assert entries(tmp_path) == [name]


def test_the_permissions_are_those_of_any_new_file(tmp_path):
    """Many threads that write at once leave the mask of new files as it is."""
    mask = os.umask(0o027)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: write_text(tmp_path / f"{i}", ""), range(100)))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


WRITER = """
import pathlib, sys
from zqc.files.atomic import atomic_directory, write_text
folder, text = pathlib.Path(sys.argv[1]), sys.argv[2] * 1000
sys.stdin.readline()
for _ in range(60):
    write_text(folder / "out.txt", text)
    with atomic_directory(folder / "pictures") as new:
        for name in "ab":
            (new / name).write_text(text)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="open files are in the way there")
def test_two_processes_that_write_the_same(tmp_path):
    """Each of them succeeds, what stands there is always that of one, and nothing else is left."""
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, text], stdin=subprocess.PIPE)
        for text in "12"
    ]
    whole = {text * 1000 for text in "12"}
    for writer in writers:
        writer.stdin.write(b"begin\n")
        writer.stdin.close()
    while any(writer.poll() is None for writer in writers):
        with suppress(FileNotFoundError):
            assert (tmp_path / "out.txt").read_text() in whole
        with suppress(FileNotFoundError):
            assert (tmp_path / "pictures" / "a").read_text() in whole
    assert [writer.wait() for writer in writers] == [0, 0]
    assert entries(tmp_path) == ["out.txt", "pictures"]
    assert len({(tmp_path / "pictures" / name).read_text() for name in "ab"} & whole) == 1
