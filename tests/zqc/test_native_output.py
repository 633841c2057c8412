"""What C++ code prints."""

import logging
import os

import pytest

from zqc.native_output import output_logged


def test_it_goes_to_the_log(capfd, caplog):
    """Both streams are caught where C++ writes, and are as before afterwards."""
    with caplog.at_level(logging.DEBUG, "zqc"):
        with output_logged("solver"):
            os.write(1, b"one\n")
            os.write(2, b"two\n")
        os.write(1, b"three\n")
    assert caplog.messages == ["solver printed: one\ntwo"]
    assert capfd.readouterr() == ("three\n", "")


def test_nothing_printed_nothing_said(caplog):
    """A silent library leaves no line."""
    with caplog.at_level(logging.DEBUG, "zqc"), output_logged("solver"):
        pass
    assert not caplog.records


def test_an_error_leaves_the_streams_as_they_were(capfd):
    """What fails inside is heard outside."""
    with pytest.raises(ValueError, match="no"), output_logged("solver"):
        raise ValueError("no")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"
