"""Memory is measured in a process of its own."""

import sys

import numpy as np
import onnx
import pytest

from zqc.benchmark import memory
from zqc.errors import RuntimeFailure
from zqc.runtime import process_memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

MEGABYTES = 64


def test_growth_is_at_least_what_a_run_holds(tmp_path):
    """A model that makes a tensor of 64 MB grows by that, and by less than three times that.

    ONNX Runtime's arena takes more than it needs.
    """
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (int64[1] n, float[1] x) => (float y) { a = Expand(x, n) y = ReduceMax<keepdims=0>(a) }"""
    )
    path = tmp_path / "a model.onnx"
    onnx.save(model, path)
    feeds = {"n": np.array([MEGABYTES << 18]), "x": np.ones(1, "f")}
    grown = memory.peak_memory(path, feeds, threads=1)
    assert MEGABYTES << 20 <= grown < 3 * MEGABYTES << 20


def test_failures_are_ours(write):
    """What the process says last is in the error."""
    with pytest.raises(RuntimeFailure, match=r"(?s)m\.onnx failed: .*RuntimeFailure"):
        memory.peak_memory(write(), {"x": np.ones((1, 2), "f")}, threads=1)


def test_unknown_elsewhere(write, monkeypatch, tmp_path):
    """A system without /proc has no number."""
    monkeypatch.setattr(process_memory, "STATUS", tmp_path / "none")
    assert memory.peak_memory(write(), {}, threads=1) is None
