"""Two models are loaded to be run side by side."""

import numpy as np
import onnx
import pytest

from tests import nets
from tests.zqc.commands.small_detectors import (
    CELLS,
    with_recipe,
    write_detector,
    write_patches,
)
from zqc.commands.pair import open_pair
from zqc.errors import InputShapeError, ModelError, OptionError, RuntimeFailure, ZqcError
from zqc.model_io.model_file import LoadedModel
from zqc.recipe.recipe import Recipe


def opened(first, second, **options):
    """A pair with the usual options."""
    return open_pair(
        (first, second), **{"input_shape": None, "values": {}, "threads": 1, **options}
    )


def save(path, text, **arrays):
    """Write a model of ONNX text."""
    onnx.save(nets.model(text, opset=17, **arrays), path)
    return path


def test_outputs_of_both_for_as_many_pictures_as_were_given(tmp_path):
    """A batch of 4 is filled up with 3 pictures, and only theirs comes back; two models differ."""
    first = write_detector(tmp_path / "m.onnx")
    second = write_detector(tmp_path / "q.onnx", batch=4, gain=4.0)
    pair = opened(first, second)
    assert (pair.shape, pair.outputs) == ((4, 3, 64, 64), {"output0": (4, 5, CELLS)})
    grey = np.array([0.2, 0.5, 0.9], np.float32)
    one, other = pair.run(np.broadcast_to(grey[:, None, None, None], (3, 3, 64, 64)))
    for found, gain in ((one, 8), (other, 4)):
        expected = 1 / (1 + np.exp(4 - gain * grey))
        np.testing.assert_allclose(found["output0"][:, 4, 5], expected, rtol=0, atol=5e-5)


def test_the_recipe_says_what_is_left_open(tmp_path):
    """The size that was compiled for is taken; what the caller says comes first."""
    first = write_detector(tmp_path / "m.onnx", height="H", width="W")
    second = write_detector(tmp_path / "q.onnx", height="H", width="W")
    with pytest.raises(InputShapeError):
        opened(first, second)
    with_recipe(second, Recipe(input_shape=(32, 96), bits=4))
    pair = opened(first, second)
    assert (pair.shape[2:], pair.recipe.precision) == ((32, 96), "w4a8")
    assert opened(first, second, input_shape=(64, 64)).shape[2:] == (64, 64)
    assert opened(second, first, input_shape=(64, 64)).recipe is None  # the float model's is none


def test_values_of_further_inputs_come_from_the_recipe(tmp_path):
    """So that a model is fed as it was calibrated; the caller's values come first."""
    text = """scaled (float[1, 3, 4, 4] x, float[1, 2] factor) => (float[1, 2] y) {
        m = ReduceMean <axes = [1, 2, 3], keepdims = 0> (x)
        y = Mul (m, factor)
    }"""
    first, second = (save(tmp_path / name, text) for name in ("m.onnx", "q.onnx"))
    with_recipe(second, Recipe(inputs={"factor": (2.0, 3.0)}))
    ones = np.ones((1, 3, 4, 4), np.float32)
    assert opened(first, second).run(ones)[0]["y"].tolist() == [[2, 3]]
    given = opened(first, second, values={"factor": (5.0, 7.0)})
    assert given.run(ones)[1]["y"].tolist() == [[5, 7]]
    with pytest.raises(OptionError, match="nobody"):
        opened(first, second, values={"nobody": (1.0,)})


def test_half_precision_is_compared_as_float32(tmp_path):
    """Sums of squares of float16 would overflow."""
    text = """half (float16[1, 3, 4, 4] x) => (float16[1, 3, 4, 4] y) { y = Relu (x) }"""
    path = save(tmp_path / "m.onnx", text)
    one, other = opened(path, path).run(np.ones((1, 3, 4, 4), np.float32))
    assert one["y"].dtype == other["y"].dtype == np.float32


def test_a_model_that_fails_is_named(tmp_path):
    """What ONNX Runtime says comes with the file that it says it of."""
    text = """picks (float[1, 3, 4, 4] x) => (float[1, 3, 4] y) <int64 far = {{{0}}}> {{
        y = Gather <axis = 3> (x, far)
    }}"""
    good = save(tmp_path / "m.onnx", text.format(3))
    bad_text = """picks (float[1, 3, 4, 4] x) => (float[1, 3, 4] y) <float big = {9}> {
        m = ReduceMax <keepdims = 0> (x)
        s = Add (m, big)
        far = Cast <to = 7> (s)
        y = Gather <axis = 3> (x, far)
    }"""
    bad = save(tmp_path / "q.onnx", bad_text)
    with pytest.raises(RuntimeFailure, match=r"q\.onnx: "):
        opened(good, bad)


def test_outputs_must_be_the_same(tmp_path):
    """Their names and shapes, with both files and the remedy."""
    first = write_detector(tmp_path / "m.onnx")
    other = write_detector(tmp_path / "q.onnx", output="other")
    said = r"output0 1 x 5 x 84 in .*m\.onnx, other 1 x 5 x 84 in .*q\.onnx; give the model that"
    with pytest.raises(ModelError, match=said):
        opened(first, other)
    with pytest.raises(ModelError, match="does not exist"):
        opened(first, tmp_path / "none.onnx")


def test_what_zqc_cannot_compile_can_be_compared(tmp_path):
    """Why the float model is refused is kept for those who need it, not raised."""
    good = write_detector(tmp_path / "m.onnx")
    assert isinstance(opened(good, good).loaded, LoadedModel)
    text = """int8s (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y)
    <float s = {0.1}, int8 z = {0}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }"""
    path = save(tmp_path / "q.onnx", text)
    pair = opened(path, path)
    assert isinstance(pair.loaded, ZqcError)
    assert [part.kind for part in pair.parts] == ["raw"]
    assert pair.facts().outputs == {"y": (1, 3, 4, 4)}


def test_facts_are_those_of_the_float_model(tmp_path):
    """Size, metadata, graph and parts, for the recognition of the detector."""
    first, second = (write_patches(tmp_path / name) for name in ("m.onnx", "q.onnx"))
    facts = opened(first, second).facts()
    assert (facts.height, facts.width, facts.names) == (64, 64, ("cat", "dog", "bird"))
    assert "AveragePool" in {node.op_type for node in facts.graph}
    assert [part.name for part in facts.parts] == ["boxes", "scores"]


def test_swapped_files_are_doubted(tmp_path):
    """A quantized file in the place of the float model is said; two float ones are no error."""
    plain = write_detector(tmp_path / "f.onnx")
    rough = write_detector(tmp_path / "q.onnx", step=0.5)
    for paths, said in (
        ((plain, rough), ""),
        ((plain, plain), ""),
        ((rough, plain), "are they swapped?"),
        ((rough, rough), "quantized, too"),
    ):
        pair = open_pair(paths, input_shape=None, values={}, threads=1)
        assert "".join(pair.doubts()).endswith(said)
        assert bool(pair.doubts()) is bool(said)
