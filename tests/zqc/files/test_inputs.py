"""Files and folders are read, and nothing that may never come to an end."""

import os
from pathlib import Path

import pytest

from zqc.errors import OptionError
from zqc.files.inputs import input_path


def test_files_and_folders(tmp_path):
    """A file, a folder, a link to one, and what is not there are said by whom they are read."""
    (tmp_path / "link").symlink_to(tmp_path)
    for path in (tmp_path, __file__, tmp_path / "link", tmp_path / "no", tmp_path / ("x" * 300)):
        assert input_path(path) == Path(path)
    assert input_path(None) is None


def test_pipes_and_devices(tmp_path):
    """They are refused by name, also behind a link."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", "/dev/null"):
        with pytest.raises(OptionError, match=f"{path} is a pipe or a device"):
            input_path(path)
    with pytest.raises(OptionError, match="- is the standard input; write what"):
        input_path("-")
