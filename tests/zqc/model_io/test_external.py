"""Parameters in other files: where they may lie, and whether they are all there."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests import nets
from zqc.errors import ModelError
from zqc.model_io import onnx_file


def written(folder, **changes):
    """A model with its parameters beside it, the entries of the first one changed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save_model(
        nets.detector(), path, save_as_external_data=True, location="data.bin", size_threshold=0
    )
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = changes.get(entry.key, entry.value)
    path.write_bytes(proto.SerializeToString())
    return path


def test_all_there(tmp_path):
    """What is read is what was written, and nothing refers to another file any more."""
    read = onnx_file.read(written(tmp_path)).proto
    for one, other in zip(read.graph.initializer, nets.detector().graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))
    onnx.load_model_from_string(read.SerializeToString())


FAULTS = {
    "only files in the folder": {"location": "../data.bin"},
    r"only files in the folder of": {"location": "/etc/passwd"},
    "which does not exist": {"location": "other.bin"},
    "is '-1', which is no number of bytes": {"offset": "-1"},
    "is '1e3', which is no number": {"length": "1e3"},
    "has 12 bytes of external data, but its shape needs 864": {"length": "12"},
    "ends at 4503599627371360": {"offset": str(2**52)},
}


@pytest.mark.parametrize("words", FAULTS)
def test_places_that_are_none(words, tmp_path):
    """Every entry that is wrong is told, and nothing outside of the folder is opened."""
    with pytest.raises(ModelError, match=words) as caught:
        onnx_file.read(written(tmp_path, **FAULTS[words]))
    assert "model.onnx: " in str(caught.value)


def test_a_constant_beside_the_model(tmp_path):
    """The value of a Constant may stand in another file, too, which is cut off as any other."""
    path = written(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    node = helper.make_node("Constant", [], ["unused"], value=proto.graph.initializer[0])
    proto.graph.node.insert(0, node)
    path.write_bytes(proto.SerializeToString())
    read = onnx_file.read(path).proto
    value = read.graph.node[0].attribute[0].t
    assert value.raw_data == read.graph.initializer[0].raw_data
    (tmp_path / "data.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="cut off"):
        onnx_file.read(path)


def test_links(tmp_path):
    """Links are followed in the folder and in a Hugging Face cache; no others."""
    cache = tmp_path / "models--somebody--detector"
    path = written(cache / "snapshots" / "0123" / "onnx")
    blobs = cache / "blobs"
    blobs.mkdir()
    for name in ("model.onnx", "data.bin"):
        (path.parent / name).rename(blobs / name)
        (path.parent / name).symlink_to(blobs / name)
    assert onnx_file.read(path).size > 1000
    (blobs / "data.bin").rename(cache / "data.bin")
    (path.parent / "data.bin").unlink()
    (path.parent / "data.bin").symlink_to(cache / "data.bin")
    with pytest.raises(ModelError, match=r"data\.bin, a link to .*, which is outside"):
        onnx_file.read(path)
