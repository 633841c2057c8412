"""Everything that can be wrong with a file is told apart."""

import errno
import math
import os
import sys

import onnx
import pytest
from onnx import helper

from tests import nets
from zqc.errors import ModelError
from zqc.model_io import onnx_file


def broken_files():
    """File contents that are no model, each with a word of the message."""
    content = nets.detector().SerializeToString()
    return {
        "empty": (b"", "empty"),
        "text": (b"this is not a model\n", "text file"),
        "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        "PyTorch checkpoint": (b"PK\x03\x04" + bytes(50), "zip archive"),
        "cut short": (content[: len(content) // 2], "damaged"),
        "other protobuf": (helper.make_tensor("t", 1, [1], [1]).SerializeToString(), "ONNX"),
    }


@pytest.mark.parametrize(("content", "word"), broken_files().values(), ids=broken_files())
def test_read_no_model(content, word, tmp_path):
    """A file that is no model is refused with its path and what it seems to be."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=word) as caught:
        onnx_file.read(path)
    assert str(path) in str(caught.value)


def test_read_nothing_there(tmp_path):
    """A missing file and a folder are told apart."""
    with pytest.raises(ModelError, match=r"missing\.onnx does not exist"):
        onnx_file.read(tmp_path / "missing.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        onnx_file.read(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_read_a_pipe(tmp_path):
    """A pipe is refused and not waited for."""
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is a pipe or a device"):
        onnx_file.read(tmp_path / "model.onnx")


def test_read_no_permission(detector_file, monkeypatch):
    """A file that may not be read is named with what the system says."""

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(detector_file), "read_bytes", refuse)
    with pytest.raises(ModelError, match=r"detector\.onnx cannot be read: Permission denied"):
        onnx_file.read(detector_file)


def test_read_missing_external_data(tmp_path):
    """The file with the parameters is named when it is missing or cut short."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        nets.detector(), path, save_as_external_data=True, location="data.bin", size_threshold=0
    )
    data = tmp_path / "data.bin"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(
        ModelError, match=r"model\.onnx: the external data are cut off: .*data\.bin"
    ):
        onnx_file.read(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"data\.bin, which does not exist"):
        onnx_file.read(path)


def test_external_data_that_are_cut_off(tmp_path):
    """An interrupted download is named by the parameter that is not complete, length or not."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        nets.detector(), path, save_as_external_data=True, location="data.bin", size_threshold=0
    )
    data = tmp_path / "data.bin"
    data.write_bytes(data.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"cut off: .* 1172 bytes, .* 'score_weight' ends at 1184"):
        onnx_file.read(path)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        kept = [entry for entry in tensor.external_data if entry.key != "length"]
        del tensor.external_data[:]
        tensor.external_data.extend(kept if tensor.name == "score_weight" else [])
        if tensor.name != "score_weight":
            tensor.ClearField("data_location")
            tensor.raw_data = bytes(4 * math.prod(tensor.dims))
    onnx.save(proto, path)
    with pytest.raises(ModelError, match=r"cut off: .* 'score_weight' ends at 1184"):
        onnx_file.read(path)
