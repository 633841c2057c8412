"""Whether an output can be written is settled before any work, with one message."""

import errno
import os
import socket
from pathlib import Path

import pytest

from zqc.errors import OutputError
from zqc.files import places
from zqc.files.places import (
    check_directory,
    check_file,
    check_name,
    check_space,
    make_folder,
    real_place,
    to_path,
)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_device(tmp_path):
    """A device is no place for a model, even by way of a link, and is not replaced."""
    link = tmp_path / "out.onnx"
    link.symlink_to("/dev/full")
    read, write = os.pipe()
    for path in (link, Path(f"/dev/fd/{write}")):
        with pytest.raises(OutputError, match="no regular file"):
            check_file(path)
    assert list(tmp_path.iterdir()) == [link]
    os.close(read)
    os.close(write)


def test_a_pipe_and_a_socket(tmp_path):
    """What is neither file nor folder cannot be replaced, by a file or by a folder."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    for name in ("pipe", "socket"):
        with pytest.raises(OutputError, match="no regular file"):
            check_file(tmp_path / name)
        with pytest.raises(OutputError, match="give the name of a folder"):
            check_directory(tmp_path / name)


def test_nowhere(tmp_path):
    """A missing folder, a folder as the file and a file as the folder are named."""
    with pytest.raises(OutputError, match=r"mkdir -p '.*/not here'"):
        check_file(tmp_path / "not here" / "out.onnx")
    with pytest.raises(OutputError, match="is a folder"):
        check_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder"):
        check_file(tmp_path / "file" / "out")
    with pytest.raises(OutputError, match="is a file"):
        check_directory(tmp_path / "file")


def test_no_permission(tmp_path, monkeypatch):
    """A folder that may not be written to is named, and so is a file that is protected."""
    (tmp_path / "out.onnx").touch()
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(OutputError, match="no permission to write in"):
        check_file(tmp_path / "out.onnx")
    monkeypatch.setattr("os.access", lambda path, mode: path == tmp_path)
    with pytest.raises(OutputError, match=r"out\.onnx is write-protected"):
        check_file(tmp_path / "out.onnx")


def test_a_folder_that_takes_no_files(tmp_path, monkeypatch):
    """What permissions do not say, such as a drive that is read-only, is found out by trying."""

    def refused(dir):  # noqa: A002 - the name of the argument
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(OutputError, match=r"cannot write .*out\.onnx: Read-only file system"):
        check_file(tmp_path / "out.onnx")


@pytest.mark.parametrize("check", [check_file, check_directory])
def test_long_names(check, tmp_path):
    """The longest name that the file system takes will do; a longer one is said to be too long."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    check(tmp_path / ("x" * longest))
    with pytest.raises(OutputError, match="too long"):
        check(tmp_path / ("x" * (longest + 1)))


def test_a_folder_with_other_files(tmp_path):
    """Files that are to be replaced may stand in the folder, and no others."""
    (tmp_path / "pictures" / "report").mkdir(parents=True)
    (tmp_path / "pictures" / "000.png").touch()
    names = {"000.png", "001.png", "report"}
    check_directory(tmp_path / "pictures", names)
    (tmp_path / "pictures" / "report" / "precious").touch()
    with pytest.raises(OutputError, match=r"holds other files \(report/precious\)"):
        check_directory(tmp_path / "pictures", names)


def test_folders_that_cannot_be_replaced(tmp_path, monkeypatch):
    """Neither the current folder nor one where a drive is mounted can be."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="is the current folder"):
        check_directory(Path())
    (tmp_path / "drive").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "drive")
    with pytest.raises(OutputError, match="a drive is mounted at"):
        check_directory(tmp_path / "drive")


def test_links(tmp_path):
    """An output behind a link goes where it leads to, also where nothing is yet."""
    (tmp_path / "store").mkdir()
    (tmp_path / "second").symlink_to("store/out.onnx")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    check_file(tmp_path / "first")
    assert real_place(tmp_path / "first") == (tmp_path / "store" / "out.onnx").resolve()
    assert real_place(tmp_path / "store") == tmp_path / "store"
    (tmp_path / "nowhere").symlink_to("no/out.onnx")
    with pytest.raises(OutputError, match="mkdir -p"):
        check_file(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OutputError, match="leads in a circle"):
        check_file(tmp_path / "circle")


def test_space(tmp_path, monkeypatch):
    """What does not fit on the device is refused with both numbers."""
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: places.shutil._ntuple_diskusage(10**9, 10**9, 10**6)
    )
    check_space(tmp_path / "out.onnx", 1e6)
    with pytest.raises(OutputError, match=r"about 2\.5 MB are needed, and 1\.0 MB are free"):
        check_space(tmp_path / "out.onnx", 2.5e6)


def test_a_string_is_a_path():
    """A string, a path and nothing become a path, the same path and nothing."""
    assert to_path("a/b.onnx") == to_path(Path("a/b.onnx")) == Path("a/b.onnx")
    assert to_path(None) is None


def test_a_folder_is_made_where_there_is_none(tmp_path):
    """Through a link, too; what stands there stays."""
    assert make_folder(tmp_path / "new")
    assert not make_folder(tmp_path / "new")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert make_folder(tmp_path / "link")
    assert (tmp_path / "target").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; give the name of a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="mkdir -p"):
        make_folder(tmp_path / "no" / "folder")


def test_names_that_no_file_can_have(tmp_path):
    """Whether the file is there or not makes no difference."""
    check_name(tmp_path / "new")
    with pytest.raises(OutputError, match="too long"):
        check_name(tmp_path / ("n" * 300))
