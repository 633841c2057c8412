"""A folder for a while, and a message that names TMPDIR where there is no place for it."""

import errno
import os
import tempfile
from types import SimpleNamespace

import pytest

from zqc.errors import ModelError, OutputError
from zqc.files.scratch import scratch_folder


@pytest.fixture(autouse=True)
def temporary_files(tmp_path, monkeypatch):
    """Let the system's folder be one of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def failed(error):
    """Let something fail in the folder."""
    with scratch_folder() as folder:
        (folder / "file").touch()
        raise error


def test_it_goes_with_what_is_in_it(tmp_path):
    """Whether the work in it ends well or not."""
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        (folder / "file").touch()
    with pytest.raises(KeyboardInterrupt):
        failed(KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_no_space(tmp_path, monkeypatch):
    """A full device is named, also where something else says no more than that it failed."""
    message = f"no space is left for temporary files in {tmp_path}; free some, or set TMPDIR"
    with pytest.raises(OutputError, match=message):
        failed(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(ModelError, match="something else"):
        failed(ModelError("something else"))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=0))
    with pytest.raises(OutputError, match=message):
        failed(ModelError("it cannot be written"))
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path, monkeypatch):
    """Where none can be made, the message says which variable helps."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="set TMPDIR to a folder that can be written to"):
        failed(AssertionError())
