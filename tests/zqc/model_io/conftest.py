"""What the tests of the border share."""

import pytest

from zqc.model_io import child, preparation


@pytest.fixture
def in_this_process(monkeypatch):
    """Make models ready without a child process, whose start costs more than most tests.

    ``test_child`` proves that it makes no difference.
    """

    def prepared(proto, *, input_shape):
        return preparation.prepared(proto, input_shape=input_shape, simplify=True)

    monkeypatch.setattr(child, "prepared", prepared)
