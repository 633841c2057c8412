"""Weights of Darknet are read in the order that the ``.cfg`` tells."""

import struct

import numpy as np
import pytest

from zqc.errors import StatisticsError
from zqc.statistics.files.darknet import read_darknet

CFG = """
# a small network
[net]
width=32
channels=3
[convolutional]
batch_normalize=1
filters=8   ; comment
size=3
stride=1
pad=1
activation=leaky
[maxpool]
size=2
[convolutional]
batch_normalize = 1
filters=8
size=3
groups=4
[route]
layers=-1, 0
[convolutional]
filters=5
size=1
[yolo]
mask=0
[route]
layers=2
groups=2
group_id=1
[upsample]
[reorg]
stride=2
[convolutional]
filters=2
"""
SHAPES = [
    *[("layers.0.bn.bias", (8,)), ("layers.0.bn.weight", (8,))],
    *[("layers.0.bn.running_mean", (8,)), ("layers.0.bn.running_var", (8,))],
    ("layers.0.conv.weight", (8, 3, 3, 3)),
    *[("layers.2.bn.bias", (8,)), ("layers.2.bn.weight", (8,))],
    *[("layers.2.bn.running_mean", (8,)), ("layers.2.bn.running_var", (8,))],
    ("layers.2.conv.weight", (8, 2, 3, 3)),
    *[("layers.4.conv.bias", (5,)), ("layers.4.conv.weight", (5, 16, 1, 1))],
    *[("layers.9.conv.bias", (2,)), ("layers.9.conv.weight", (2, 16, 1, 1))],
]
"""In the order of the file: of a route, channels are added up or divided."""
COUNT = sum(int(np.prod(shape)) for _, shape in SHAPES)


def written(folder, count=COUNT, cfg=CFG, version=(0, 2)):
    """Write so many numbers, and the description beside them."""
    seen = struct.pack("<q" if version[1] >= 2 else "<i", 32)
    head = struct.pack("<3i", *version, 0) + seen
    path = folder / "net.weights"
    path.write_bytes(head + np.arange(count, dtype="<f4").tobytes())
    (folder / "net.cfg").write_text(cfg)
    return path


@pytest.mark.parametrize("version", [(0, 2), (0, 1)])
def test_order(tmp_path, version):
    """Every array has its numbers, whose header is 16 or 20 bytes long."""
    arrays = read_darknet(written(tmp_path, version=version)).arrays
    assert {name: array.shape for name, array in arrays.items()} == dict(SHAPES)
    begin = 0
    for name, shape in SHAPES:
        size = int(np.prod(shape))
        expected = np.arange(begin, begin + size).reshape(shape)
        np.testing.assert_array_equal(arrays[name], expected)
        begin += size


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"count": COUNT - 1}, f"only {COUNT - 1} numbers"),
        ({"count": COUNT + 3}, "3 are left"),
        ({"cfg": "hello"}, r"begins with no \[net\]"),
        ({"cfg": CFG.replace("filters=5", "filters=five")}, 'layer 4: filters is "five", but'),
        ({"cfg": CFG.replace("filters=5", "filters=-5")}, "layer 4: filters is -5, but must be"),
        (
            {"cfg": CFG.replace("filters=5", f"filters={'9' * 5000}")},
            "layer 4: filters is .9{56}…,",
        ),
        ({"cfg": CFG.replace("groups=4", "groups=0")}, "layer 2: groups is 0"),
        ({"cfg": CFG.replace("layers=-1, 0", "layers=-9")}, "layer 3: layers=.-9. are not all"),
        ({"cfg": CFG.replace("layers=-1, 0", "")}, 'layer 3: layers is ""'),
        ({"cfg": CFG.replace("stride=2", "stride=999999999")}, "layer 8: it has .* channels"),
        ({"cfg": CFG.replace("[upsample]", f"[{'a' * 5000}]")}, r"layer \[a{60}\], and"),
        ({"cfg": "[net]\n" + "#" * 2**20}, "at most 1,048,576 are read"),
        ({"cfg": CFG.replace("[upsample]", "[connected]")}, r"layer \[connected\]"),
    ],
)
def test_other_files(tmp_path, changes, pattern):
    """A description of another network, or none at all, is said to be."""
    with pytest.raises(StatisticsError, match=pattern):
        read_darknet(written(tmp_path, **changes))


def test_a_missing_description(tmp_path):
    """Numbers alone tell nothing: the message says which file belongs beside them."""
    path = written(tmp_path)
    (tmp_path / "net.cfg").unlink()
    with pytest.raises(StatisticsError, match=r"put that beside it as net.cfg"):
        read_darknet(path)


def test_a_comment_in_any_encoding(tmp_path):
    """What stands behind # is nobody's business."""
    path, cfg = written(tmp_path), tmp_path / "net.cfg"
    cfg.write_bytes("# Größe\n".encode("latin-1") + cfg.read_bytes())
    assert len(read_darknet(path).arrays) == len(SHAPES)
