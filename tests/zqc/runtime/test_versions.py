"""What versions of ONNX Runtime read."""

import logging

import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from zqc.errors import OptionError
from zqc.runtime import session
from zqc.runtime.versions import OLDEST, casts_int4, check, newest_opset, oldest_that_reads


def test_newer_versions_read_no_less():
    """Opsets only grow, beyond what is known, too."""
    opsets = [newest_opset(f"1.{minor}") for minor in range(16, 50)]
    assert opsets == sorted(opsets)
    assert newest_opset("1.50") == newest_opset("2.0") == newest_opset(None) == opsets[-1]


@pytest.mark.parametrize(
    ("version", "opset"), [("1.16", 19), ("1.20", 21), ("1.22", 22), ("1.32", 28)]
)
def test_opsets(version, opset):
    """What was measured, also for versions between those in the table."""
    assert newest_opset(version) == opset


def test_the_installed_version_reads_what_is_said_of_it():
    """Whichever is installed loads a model of the newest opset that it is said to read."""
    opset = newest_opset(".".join(ort.__version__.split(".")[:2]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session.load(model.SerializeToString(), threads=1)


def test_the_oldest_that_reads_an_opset():
    """None where no version is known to."""
    assert [oldest_that_reads(opset) for opset in (13, 20, 22, 99)] == [
        "1.16",
        "1.17",
        "1.21",
        None,
    ]


@pytest.mark.parametrize("version", [OLDEST, "1.23", "1.32", "1.40", "2.0"])
def test_versions_since_the_oldest_are_accepted(version):
    """Those that are not released yet as well."""
    check(version)


@pytest.mark.parametrize("version", ["1.15", "0.99", "abc", "", "1", "1.16.3", "1.x", "-1.20"])
def test_others_are_refused(version):
    """The message says what a version looks like, and which is the oldest."""
    form = r"two numbers with a point between them, such as 1\.23"
    with pytest.raises(OptionError, match=rf"ONNX Runtime from 1\.16 on, {form}"):
        check(version)


def test_the_log_says_what_a_newer_version_is_taken_for(caplog):
    """At debug level, and only of versions newer than those measured."""
    with caplog.at_level(logging.DEBUG, "zqc"):
        newest_opset("1.32")
        assert not caplog.records
        newest_opset("1.40")
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
    assert caplog.messages == ["onnxruntime 1.40 is taken to read what 1.32 reads"]


def test_int4():
    """From 1.23 on INT4 can be cast, and by whatever zqc itself runs on."""
    versions = ("1.16", "1.22", "1.23", "1.40", "2.0", None)
    assert [casts_int4(version) for version in versions] == [False, False, True, True, True, True]
