"""Comparing engines: what needs no other engine."""

import numpy as np
import onnx_ir as ir
import pytest

from tests.passes.helpers import build_model
from tools.compare import engines
from zqc.runtime import session


@pytest.fixture
def path(tmp_path):
    """The file of two branches, of which one is quantized twice in a row."""
    model = build_model(
        """(float[N,4] x) => (float[N,4] scores, float[N,2] both) {
            a_q = QuantizeLinear(x, quarter, z)
            a = DequantizeLinear(a_q, quarter, z)
            r = Neg(a)
            b_q = QuantizeLinear(r, half, z)
            b = DequantizeLinear(b_q, half, z)
            scores = Sigmoid(b)
            l, m = Split<axis=1>(a, parts)
            both = Mul(l, m)
        }""",
        quarter=0.25,
        half=0.5,
        z=np.int8(0),
        parts=np.array([2, 2]),
    )
    file = tmp_path / "model.onnx"
    ir.save(model, file)
    return file


def test_the_last_grids_are_shown(path):
    """For each output those behind which no other one comes, with their steps."""
    probe = engines._probe(path)
    assert probe.grids == {"scores": ("b",), "both": ("a",)}
    assert probe.steps == {"a": 0.25, "b": 0.5}
    x = np.array([[0.3, 1.0, -2.0, 9.0]], np.float32)
    outputs = session.load(probe.path, threads=1, optimize=False)({"x": x})
    np.testing.assert_array_equal(outputs["a"], [[0.25, 1.0, -2.0, 9.0]])


@pytest.mark.parametrize(
    ("away", "precision", "text"),
    [
        (0.0, "", "equal"),
        (0.0, "bf16", "equal (bf16)"),
        (0.25, "", "1 step, 75.00 % equal"),
        (-0.75, "bf16", "3 steps, 75.00 % equal (bf16)"),
    ],
)
def test_cells(away, precision, text):
    """Differences count in steps of their grid, rounded, whatever their sign."""
    expected = {"a": np.zeros((2, 2), np.float32)}
    found = engines.Result({"a": np.array([[0, 0], [0, away]], np.float32)}, precision)
    assert engines._cell(expected, found, ("a",), {"a": 0.25}) == text


@pytest.mark.parametrize(
    ("away", "text"), [(0.0, "equal"), (0.1, "SQNR 20 dB"), (-1.0, "SQNR 0 dB")]
)
def test_cells_of_whole_files(away, text):
    """Outputs of the file itself are equal to the last bit, or have an SQNR."""
    expected = np.ones((2, 2), np.float32)
    assert engines._whole_cell(expected, expected + np.float32(away)) == text
    assert engines._whole_cell(expected, expected[0]) == "another shape"


def test_a_file_is_converted(path, tmp_path):
    """ORT format computes what the file computes."""
    x = {"x": np.array([[0.3, 1.0, -2.0, 9.0]], np.float32)}
    found = engines._converted("Runtime", path, x, tmp_path)
    for name, expected in session.load(path, threads=1)(x).items():
        assert engines._whole_cell(expected, found.outputs[name]) == "equal"


def test_a_refusal_is_one_line():
    """The last one of what an engine said, if it said anything."""
    assert engines._last_line("Traceback\n  file\nFail: no model\n") == "Fail: no model"
    assert engines._last_line("\n") == "it said nothing"
