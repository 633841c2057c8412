"""The matrix of versions: what can be said without installing any."""

import sys
from pathlib import Path

import numpy as np
import pytest

import zqc
from tests import nets
from tools.compare import versions
from zqc.model_io import model_file


@pytest.fixture
def file(tmp_path):
    """A compiled detector of three layers."""
    source, pictures = tmp_path / "net.onnx", tmp_path / "pictures.npz"
    source.write_bytes(nets.detector().SerializeToString())
    np.savez(pictures, images=np.random.default_rng(0).uniform(size=(2, 3, 16, 16)).astype("f4"))
    recipe = zqc.Recipe(samples=2, input_format=zqc.InputFormat())
    result = zqc.compile(source, tmp_path / "out.onnx", recipe=recipe, images=pictures, threads=1)
    return versions.File(result.output, len(result.layers), "opset 13, IR 7")


def test_a_version_agrees_with_itself(file, tmp_path):
    """All layers are fused, the outputs are equal; where none are given, nothing is."""
    pythons = {"2.0": Path(sys.executable), "1.0": Path(sys.executable), "0.1": "skipped: too old"}
    table = versions._table({"INT8": file}, pythons, tmp_path).splitlines()
    assert table == [
        "| onnxruntime | INT8 (opset 13, IR 7) |",
        "| --- | --- |",
        "| 0.1 | skipped: too old |",
        "| 1.0 | 3/3, equal |",
        "| 2.0 | 3/3, equal |",
    ]


def test_a_refusal_names_its_cause(file, tmp_path):
    """A file that a version cannot load has its reason in the table, not a traceback."""
    proto = model_file.onnx_file.read(file.path).proto
    proto.graph.node[0].op_type = "Quantise"
    file.path.write_bytes(proto.SerializeToString())
    table = versions._table({"INT8": file}, {"1.0": Path(sys.executable)}, tmp_path)
    assert "| 1.0 | refused: " in table
    assert "Quantise" in table


def test_reasons():
    """Error codes, source files and signatures are left out."""
    load = "Load model from /tmp/1.onnx failed:/onnxruntime_src/model.cc:149 Model(a, b) "
    error = f"Fail: [ONNXRuntimeError] : 1 : FAIL : {load}Unsupported IR version: 10."
    assert versions._reason(f"Traceback\n  file\n{error}") == "Unsupported IR version: 10"
    assert versions._reason("\n") == "it said nothing"


def test_how_far_outputs_are():
    """Equal means every bit; else the largest difference counts by the largest value."""
    outputs = {"a": np.float32([1, 4]), "b": np.zeros((0, 2), np.float32)}
    assert versions._same(outputs, dict(outputs)) == "equal"
    assert versions._same(outputs, {**outputs, "a": np.float32([1, 4.004])}) == "within 1e-03"
    assert versions._same(outputs, {**outputs, "a": np.float32([1])}) == "other shapes"
