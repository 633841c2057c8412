"""Any model is cut and run as far as it goes, for the first time in a child process."""

import numpy as np
import onnx
import pytest

from tests import nets
from tests.zqc.model_io.helpers import CONV_NORM, IMAGE, outputs
from zqc.errors import ModelError
from zqc.model_io import any_model, child


def test_a_file_of_another_runtime_is_run_as_far_as_it_goes(tmp_path):
    """Such a file is given another one for as long as it is needed; any other is its own."""
    text = f"""{IMAGE} (float[N, 8, 8, 8] y, float z) {{
        {CONV_NORM} y = Relu (normed) z = com.example.Decode (y)
    }}"""
    path = tmp_path / "model.onnx"
    onnx.save(nets.model(text, opset=17, domains=["com.example"], **nets.weights()), path)
    with any_model.runnable(path) as file:
        found = outputs(file.read_bytes(), np.ones((1, 3, 8, 8), np.float32))
    assert list(found) == ["y"]
    assert not file.exists()
    onnx.save(nets.detector(), path)
    with any_model.runnable(path) as file:
        assert file == path


def test_constants_do_not_cross_the_cut(tmp_path):
    """Files of others hold constants as nodes: those that are read behind the cut stand there."""
    text = """net (float[N, 3, 8, 8] x) => (float[N, 4] boxes, int64[M, 3] found) {
        k = Constant <value_ints = [2]> () axes = Constant <value_ints = [2, 3]> ()
        means = ReduceMean <keepdims = 0> (x, axes)
        four = Concat <axis = 1> (means, means)
        boxes = Slice (four, zero, five, one)
        picked = Greater (means, half) chosen = NonZero (picked)
        top = Slice (chosen, zero, k, zero) found = Transpose (top)
    }"""
    given = {"zero": np.array([0]), "one": np.array([1]), "five": np.array([4])}
    proto = nets.model(text, opset=18, half=np.float32(0.5), **given)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    _, part, left = any_model.split_file(path)
    assert left.reasons == {"found": "selected by NonZero "}
    assert [value.name for value in part.graph.outputs] == ["boxes", "picked"]
    assert [value.name for value in left.tail.graph.inputs] == ["picked"]


@pytest.mark.child_process
def test_what_kills_onnx_runtime(detector_file, monkeypatch):
    """A file on which ONNX Runtime dies is refused with how, and this process lives."""
    any_model.split_file(detector_file)  # a good one runs
    died = child._DiedError("the first run of the model", "died by SIGFPE")

    def die(content, options):
        raise died

    monkeypatch.setattr(child, "_in_child", die)
    with pytest.raises(ModelError, match=r"detector\.onnx: the first run .* died by SIGFPE"):
        any_model.split_file(detector_file)
