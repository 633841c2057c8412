"""Files of PyTorch are read without it, in both forms."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from tests.zqc.statistics.files import hostile
from zqc.errors import StatisticsError
from zqc.statistics.files.torch_file import LEGACY_MAGIC, StoredTensor, read_torch_file

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def save(path, value, *, zipped=True):
    """Write a file with PyTorch."""
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def stored(values, zipped=True, **changes):
    """The bytes of a file with one float32 tensor, whose call has other arguments."""
    said = {"offset": 0, "shape": (2, 2), "stride": (2, 1), "count": 4} | changes
    head = hostile.text("storage") + b"ctorch\nFloatStorage\n" + hostile.text("0")
    head += hostile.text("cpu") + b"\x8a\x08" + struct.pack("<q", said["count"])
    body = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + head + b"tQ"
    for value in (said["offset"], said["shape"], said["stride"]):
        body += pickle.dumps(value, 2)[2:-1]
    body += b"\x89N" + b"tR."
    if zipped:
        return hostile.archive(body, {"archive/data/0": values.tobytes()})
    keys = pickle.dumps(["0"], 2)
    return hostile.MAGIC + body + keys + struct.pack("<q", values.size) + values.tobytes()


def array_of(path):
    """The one tensor of a file."""
    file = read_torch_file(path)
    return file.array(file.root)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_type(tmp_path, zipped):
    """Views, transposed or shifted, parameters and all float types have PyTorch's own values."""
    torch.manual_seed(0)
    base = torch.randn(6, 5, dtype=torch.float64)
    value = {str(kind): base.to(kind) for kind in TYPES}
    value |= {"t": base.T, "part": base[2:, 1::2], "p": torch.nn.Parameter(base[0])}
    value |= {"scalar": torch.tensor(3.0)}
    file = read_torch_file(save(tmp_path / "a.pt", value, zipped=zipped))
    for name, tensor in value.items():
        expected = tensor.detach().double().numpy()
        np.testing.assert_array_equal(file.array(file.root[name]), expected, err_msg=name)


def test_what_is_no_weight_is_left_out(tmp_path):
    """Integers, numbers repeated by a stride of 0 and empty tensors are no arrays."""
    value = {"i": torch.arange(3), "wide": torch.ones(1).expand(1000), "none": torch.ones(0)}
    root = read_torch_file(save(tmp_path / "a.pt", value)).root
    assert not any(isinstance(root[name], StoredTensor) for name in value)


def test_big_endian(tmp_path):
    """The byte order is that of the file."""
    values = np.arange(4, dtype=">f4")
    content = stored(values)
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr("archive/byteorder", "big")
    path = tmp_path / "a.pt"
    path.write_bytes(buffer.getvalue())
    file = read_torch_file(path)
    np.testing.assert_array_equal(file.array(file.root), [[0, 1], [2, 3]])


def test_the_magic_number():
    """It is the one that PyTorch writes."""
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    assert buffer.getvalue().startswith(LEGACY_MAGIC)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"shape": (2, 3)}, "has a storage of 4 numbers"),
        ({"offset": 1}, "has a storage of 4 numbers"),
        ({"offset": -1}, "has shape"),
        ({"stride": (1 << 50, 1)}, "has shape"),
        ({"stride": (-1, 1)}, "has shape"),
        ({"shape": (1 << 45, 1 << 45)}, "has shape"),
        ({"shape": (2,)}, "has shape"),
        ({"count": 1 << 40, "shape": (1 << 20, 1 << 19), "stride": (1 << 19, 1)}, "damaged"),
    ],
)
def test_sizes_beyond_the_storage(tmp_path, zipped, changes, pattern):
    """A tensor that does not stand within its bytes is refused before anything is allocated."""
    path = tmp_path / "a.pt"
    path.write_bytes(stored(np.zeros(4, np.float32), zipped, **changes))
    with pytest.raises(StatisticsError, match=pattern):
        array_of(path)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "archive/../../evil", "C:evil", "a\\evil"]
)
def test_paths_out_of_the_archive(tmp_path, name):
    """Entries that would be written elsewhere are refused by name, and never written."""
    path = tmp_path / "in" / "a.pt"
    path.parent.mkdir()
    path.write_bytes(hostile.archive(b"\x80\x02}.", {name: b"x"}))
    with pytest.raises(StatisticsError, match="a path outside of the archive"):
        read_torch_file(path)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["in", "a.pt"]


def test_zip_bombs(tmp_path):
    """Compressed entries, and entries that overlap, are refused unread."""
    path = tmp_path / "a.pt"
    bomb = hostile.archive(
        b"\x80\x02" + b"N0" * (1 << 22) + b"N.", compression=zipfile.ZIP_DEFLATED
    )
    path.write_bytes(bomb)
    with pytest.raises(StatisticsError, match=r"compressed entry 'archive/data.pkl' of 83886"):
        read_torch_file(path)
    twice = io.BytesIO(hostile.archive(b"\x80\x02}.", {"archive/data/0": bytes(5000)}))
    with zipfile.ZipFile(twice, "a") as file:
        (entry,) = [e for e in file.infolist() if e.filename.endswith("/0")]
        file.filelist.extend([entry] * 9)
        file._didModify = True
    path.write_bytes(twice.getvalue())
    with pytest.raises(StatisticsError, match="larger than the file"):
        read_torch_file(path)


def test_other_archives(tmp_path):
    """A zip archive of something else is named as such, a broken one as damaged."""
    path = tmp_path / "a.pt"
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    (tmp_path / "a.npz").rename(path)
    with pytest.raises(StatisticsError, match=r"with 0 files data.pkl, so no checkpoint"):
        read_torch_file(path)
    content = save(path, {"x": torch.ones(300)}).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StatisticsError, match="is damaged"):
        read_torch_file(path)


def test_an_empty_file(tmp_path):
    """It is called empty."""
    path = tmp_path / "a.pt"
    path.write_bytes(b"")
    with pytest.raises(StatisticsError, match=r"a\.pt is empty; save or download it again"):
        read_torch_file(path)


def test_legacy_files_that_are_cut_off(tmp_path):
    """Wherever it ends early, the message says that the file is damaged."""
    content = save(tmp_path / "a.pt", {"x": torch.ones(30)}, zipped=False).read_bytes()
    for end in range(len(LEGACY_MAGIC), len(content) - 1, 7):
        path = tmp_path / "b.pt"
        path.write_bytes(content[:end])
        with pytest.raises(StatisticsError, match="is damaged"):
            read_torch_file(path)
