"""Work on a cluster; that it computes the same, those who send it prove."""

import pytest

from zqc.errors import OptionError
from zqc.runtime.workers import workers


def test_without_an_address_nothing_is_needed(monkeypatch):
    """Not even the package."""
    monkeypatch.setattr("zqc.runtime.extras.installed", lambda _: False)
    with workers(None):
        pass


def test_no_scheduler_is_an_error(monkeypatch):
    """The message says how to start one."""
    pytest.importorskip("distributed")
    monkeypatch.setattr("zqc.runtime.workers._SECONDS", 0.2)
    said = r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
    with pytest.raises(OptionError, match=said), workers("tcp://127.0.0.1:9"):
        pass
