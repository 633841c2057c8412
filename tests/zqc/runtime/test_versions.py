"""What versions of ONNX Runtime read."""

import onnxruntime as ort
import pytest

from zqc.runtime.versions import VERSIONS, casts_int4, newest_opset


def test_newer_versions_read_no_less():
    """Opsets only grow, over all versions up to the installed one at least."""
    opsets = [newest_opset(version) for version in VERSIONS]
    assert opsets == sorted(opsets)
    assert VERSIONS[0] == "1.16"
    assert ort.__version__.rpartition(".")[0] in VERSIONS


@pytest.mark.parametrize(("version", "opset"), [("1.16", 19), ("1.20", 21), ("1.22", 22)])
def test_opsets(version, opset):
    """What was measured, also for versions between those in the table."""
    assert newest_opset(version) == opset


def test_int4():
    """From 1.23 on INT4 can be cast, and by whatever zqc itself runs on."""
    assert [casts_int4(version) for version in ("1.16", "1.22", "1.23", "1.31", None)] == [
        False,
        False,
        True,
        True,
        True,
    ]
