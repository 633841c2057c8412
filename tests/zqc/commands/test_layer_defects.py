"""A layer that computes something else is found, though the detections agree."""

import logging

import numpy as np
import onnx
import onnxruntime.quantization as ort
import pytest

from tests.zqc.commands.small_detectors import (
    LAYERS,
    bright_patches,
    write_layered,
    write_patches,
    write_pictures,
)
from tools.study import spoil
from zqc.commands import compile as compiler
from zqc.commands.check import check
from zqc.commands.compile import compile_model
from zqc.commands.layer_defects import layer_defects
from zqc.commands.pair import open_pair
from zqc.errors import AlreadyQuantizedError
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat

RANGE = InputFormat.from_range(0, 1)
PATCHES = bright_patches(4)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A float model, what is compiled of it, and pictures."""
    folder = tmp_path_factory.mktemp("files")
    pictures = write_pictures(folder / "pictures", PATCHES)
    model, quantized = write_layered(folder / "m.onnx"), folder / "q.onnx"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compiler, "median_latencies", lambda *_: [2.0, 1.0])
        compile_model(model, quantized, images=pictures, input_format=RANGE, threads=1)
    return model, quantized, pictures


def found(model, other, pictures):
    """What is said of the layers."""
    pair = open_pair((model, other), input_shape=None, values={}, threads=1)
    shown = open_images(pictures, channels=3, height=64, width=64, input_format=RANGE)
    return layer_defects(pair, shown, threads=1)


@pytest.mark.parametrize("factor", [8, 1 / 8])
@pytest.mark.parametrize("index", range(3))
def test_a_scale_that_is_off_is_found(tmp_path, files, index, factor):
    """The one layer, by its name, with about the factor."""
    model, quantized, pictures = files
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.scale_off(index, factor))
    (defect,) = found(model, wrong, pictures)
    assert defect.layer == LAYERS[index]
    said = "its weights are 8" if factor == 8 else "its weights are 1/8"
    assert defect.reason.replace("7.9", "8").startswith(said)


def test_it_decides_the_verdict_though_detections_agree(tmp_path, files):
    """All boxes are kept with their scores; the model is broken all the same."""
    model, quantized, pictures = files
    wrong = spoil.spoiled(quantized, tmp_path / "w.onnx", spoil.scale_off(1, 8))
    result = check(model, wrong, images=pictures, threads=1)
    assert result.agreement.ap == pytest.approx(1)
    assert result.pairing.counts.f1 == 1
    assert str(result).startswith("Verdict          broken: layer body: its weights are ")
    assert [defect.layer for defect in result.defects] == ["body"]
    assert result.verdict.advice == f"zqc debug {model} {wrong} --images {pictures}"


def test_a_sound_file_says_nothing(files):
    """As it was compiled."""
    model, quantized, pictures = files
    assert found(model, quantized, pictures) == ()
    assert check(model, quantized, images=pictures, threads=1).verdict.word == "good"


def test_a_file_of_another_tool_says_nothing(tmp_path, files):
    """What ONNX Runtime's own quantizer writes, with zero points and its own ranges."""
    model, _, pictures = files

    class Reader(ort.CalibrationDataReader):
        def __init__(self):
            pixels = (np.kron(bright.reshape(4, 4), np.ones((16, 16))) for bright in PATCHES)
            self.feeds = iter([{"images": np.float32([[one] * 3])} for one in pixels])

        def get_next(self):
            return next(self.feeds, None)

    target = tmp_path / "ort.onnx"
    ort.quantize_static(
        str(model), str(target), Reader(), per_channel=True, op_types_to_quantize=["Conv"]
    )
    assert {"QuantizeLinear", "Conv"} <= {node.op_type for node in onnx.load(target).graph.node}
    assert found(model, target, pictures) == ()


def test_two_float_models_are_compared_by_their_weights(tmp_path, files):
    """The same ones say nothing; weights that are 8 times as large are named."""
    model, _, pictures = files
    assert found(model, model, pictures) == ()
    other = onnx.load(model)
    (weight,) = (tensor for tensor in other.graph.initializer if tensor.name == "w2")
    weight.CopyFrom(onnx.numpy_helper.from_array(8 * onnx.numpy_helper.to_array(weight), "w2"))
    onnx.save(other, tmp_path / "other.onnx")
    (defect,) = found(model, tmp_path / "other.onnx", pictures)
    assert (defect.layer, defect.reason) == (
        "body",
        "its weights are 8 times those of the float model",
    )


def test_layers_that_cannot_be_compared_say_nothing(tmp_path, files, caplog):
    """A model without layers: the verdict is another's matter, and the log says why."""
    model, _, pictures = files
    without = write_patches(tmp_path / "w.onnx")
    with caplog.at_level(logging.INFO, logger="zqc"):
        assert found(model, without, pictures) == ()
    assert "the layers cannot be compared: no layer of" in caplog.text


def test_two_quantized_files_say_nothing(files):
    """What ``compile`` would not read is compared by its outputs alone."""
    _, quantized, pictures = files
    pair = open_pair((quantized, quantized), input_shape=None, values={}, threads=1)
    assert isinstance(pair.loaded, AlreadyQuantizedError)
    assert found(quantized, quantized, pictures) == ()
