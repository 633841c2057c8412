"""The networks of a checkpoint are found, under whatever names trainers keep them."""

import collections

import numpy as np
import pytest
import torch

from tests.zqc.statistics.files import hostile
from zqc.errors import StatisticsError
from zqc.statistics.files.checkpoint import read_checkpoint


class Net(torch.nn.Module):
    """A convolution with BatchNorm inside of another module."""

    def __init__(self):
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, 1e-3))


def expected(module):
    """The float entries of its state dict."""
    state = module.state_dict()
    return {name: t.double().numpy() for name, t in state.items() if t.is_floating_point()}


def check(weights, module, rtol=0.0):
    """Hold that the arrays are those of a module."""
    want = expected(module)
    assert list(weights.arrays) == list(want)
    for name, array in want.items():
        np.testing.assert_allclose(weights.arrays[name], array, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_networks(tmp_path, zipped, whole):
    """A state dict and a whole pickled model have the names and the numbers of the state dict."""
    module, path = Net(), tmp_path / "net.ckpt"
    value = module if whole else module.state_dict()
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    (weights,) = read_checkpoint(path)
    check(weights, module)
    assert weights.eps == ({"block.1": 1e-3} if whole else {})


def test_the_averaged_network_comes_first(tmp_path):
    """As Ultralytics has it: a module in float16 under ``ema`` before that under ``model``."""
    module, average, path = Net(), Net(), tmp_path / "last.pt"
    optimizer = torch.optim.Adam(module.parameters())
    module.block[0].weight.grad = torch.ones_like(module.block[0].weight)
    optimizer.step()
    saved = {"epoch": 3, "ema": average.half(), "model": module, "best": None}
    torch.save(saved | {"optimizer": optimizer.state_dict()}, path)
    first, second, both = read_checkpoint(path)
    check(first, average, rtol=1e-3)
    check(second, module)
    assert not any("exp_avg" in name for name in both.arrays)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "net", "params_ema"])
def test_usual_keys(tmp_path, key):
    """Names of trainers; a prefix such as ``module.`` stays, for names do not matter."""
    module, path = Net(), tmp_path / "net.pth"
    state = collections.OrderedDict((f"module.{k}", v) for k, v in module.state_dict().items())
    torch.save({key: state, "epoch": 1}, path)
    (weights,) = read_checkpoint(path)
    assert list(weights.arrays) == [f"module.{name}" for name in expected(module)]


def test_nested_without_end(tmp_path):
    """A pickle that is nested deeper than networks are is damaged; it takes no stack."""
    path = tmp_path / "net.pt"
    path.write_bytes(hostile.archive(hostile.attacks("mark")["nested without end"][0]))
    with pytest.raises(StatisticsError, match="levels deep"):
        read_checkpoint(path)


def test_many_views_of_few_numbers(tmp_path):
    """A thousand views of one storage would be a thousand times its size."""
    path, base = tmp_path / "net.pt", torch.zeros(2000)
    torch.save({str(n): base[n : n + 1000] for n in range(1000)}, path)
    with pytest.raises(StatisticsError, match="many times its own size"):
        read_checkpoint(path)
