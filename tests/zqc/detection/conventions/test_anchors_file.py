"""Anchors from files."""

import numpy as np
import pytest

from zqc.detection.conventions.anchors_file import read_anchors
from zqc.errors import OptionError


def test_anchors_are_read(tmp_path):
    """In single precision, whatever they were written in."""
    np.save(tmp_path / "anchors.npy", np.eye(4))
    anchors = read_anchors(tmp_path / "anchors.npy")
    assert anchors.dtype == np.float32
    assert anchors.tolist() == np.eye(4).tolist()


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        (np.zeros((10, 3)), "A x 4"),
        (np.zeros((10, 4), int), "finite floats"),
        (np.full((10, 4), np.nan), "finite floats"),
    ],
)
def test_other_arrays_are_refused(tmp_path, anchors, message):
    """Four finite numbers are an anchor."""
    np.save(tmp_path / "anchors.npy", anchors)
    with pytest.raises(OptionError, match=message):
        read_anchors(tmp_path / "anchors.npy")


def test_missing_and_foreign_files_are_named(tmp_path):
    """A file that is not there or not an array is an OptionError with its name."""
    (tmp_path / "foreign.npy").write_text("x")
    for name in ("missing.npy", "foreign.npy"):
        with pytest.raises(OptionError, match=name):
            read_anchors(tmp_path / name)
