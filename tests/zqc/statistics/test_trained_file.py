"""A checkpoint lends its statistics, or it is said why not."""

from pathlib import Path

import pytest
import torch

from tests.passes.helpers import build_model
from tests.zqc.statistics.test_lending import NET, folded_copy, network, weights_of
from zqc.errors import StatisticsError
from zqc.statistics.trained_file import counted, lent_by


@pytest.fixture
def save(tmp_path):
    """Write networks under keys of a checkpoint."""

    def save(**networks):
        path = tmp_path / "net.pt"
        states = {
            key: {name: torch.from_numpy(array.copy()) for name, array in weights.arrays.items()}
            for key, weights in networks.items()
        }
        torch.save(states, path)
        return path

    return save


@pytest.fixture
def model():
    """The folded network of the tests of lending."""
    return folded_copy(build_model(NET, opset=17, **network()))


def test_the_network_that_says_most(save, model):
    """The averaged one is asked first, but the model may be exported from the other."""
    path = save(ema=weights_of(network(1)), model=weights_of(network()))
    lent = lent_by(path, "torch", model)
    assert (len(lent.used), lent.unused) == (4, ())


def test_refusals(save, model):
    """Another network, one trained further and one without statistics: each has its message."""
    with pytest.raises(StatisticsError, match=r"none of the 4 BatchNorm layers of .*net.pt stands"):
        lent_by(save(ema=weights_of(network(1))), "torch", model)
    arrays = network()
    later = arrays | {"b" + index: arrays["b" + index] + 1 for index in "1234"}
    with pytest.raises(StatisticsError, match=r"same weights before a.bn and 2 more, but other"):
        lent_by(save(ema=weights_of(later)), "torch", model)
    path = save()
    torch.save({"a.weight": torch.ones(3, 3)}, path)
    with pytest.raises(StatisticsError, match="no running means"):
        lent_by(path, "torch", model)


def test_counted():
    """How many, and the names of some that are left."""
    assert counted(57, [], Path("a.pt")) == "57 of 57 BatchNorm layers of a.pt"
    text = counted(2, list("abcdefgh"), Path("a.pt"))
    assert text == "2 of 10 BatchNorm layers of a.pt; not matched: a, b, c and 5 more"
    assert counted(1, ["a"], Path("c"), what="layers") == "1 of 2 layers of c; not matched: a"
