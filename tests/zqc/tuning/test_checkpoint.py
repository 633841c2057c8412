"""Where a training stands is kept, and found again by what it depends on."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.tuning.nets import BITS, GRIDS, networks
from zqc.detection.losses.assignment import Objects
from zqc.files.store import Store
from zqc.pictures.batches import Batches
from zqc.pictures.images import ImageSet
from zqc.tuning.checkpoint import Checkpoint, Standing, key_of
from zqc.tuning.objective import USUAL, Objective
from zqc.tuning.schedule import Schedule
from zqc.tuning.tune import training_graphs

STANDING = Standing(
    step=7,
    state={"/a.weight": np.ones((2, 3), np.float32), "file": np.zeros((), np.float32)},
    best={"/a.weight": np.full((2, 3), 0.1, np.float32)},
    first=(0.3, 0.7),
    least=(1 / 3, 0.1),
)


def same(one, other):
    """Whether two are equal to the last bit."""
    plain = {"state": {}, "best": {}}
    named = [each for side in (one, other) for each in (side.state, side.best)]
    arrays = [{n: (a.tobytes(), a.shape, a.dtype) for n, a in each.items()} for each in named]
    return replace(one, **plain) == replace(other, **plain) and arrays[:2] == arrays[2:]


def test_what_is_written_is_read(tmp_path):
    """Numbers, names and arrays, to the last bit; once it is removed it is not there."""
    kept = Checkpoint(Store(tmp_path), "k")
    assert kept.read() is None
    assert kept.write(STANDING)
    assert same(kept.read(), STANDING)
    assert Checkpoint(Store(tmp_path), "other").read() is None
    kept.remove()
    assert kept.read() is None
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_one_is_not_used(tmp_path):
    """It is as if it were not there."""
    kept = Checkpoint(Store(tmp_path), "k")
    kept.write(STANDING)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert kept.read() is None


def test_without_a_store_nothing_is_kept():
    """Reading finds nothing, writing and removing do nothing."""
    kept = Checkpoint(None, "")
    assert not kept.write(STANDING)
    kept.remove()
    assert kept.read() is None


@pytest.fixture(scope="module")
def trained():
    """All that a key is made of."""
    model, quantized, x = networks()
    batches = Batches.of(ImageSet.of_tensors(x[:4], "noise"), model)
    built = training_graphs(model, quantized, BITS, list(GRIDS), batches, 1, seed=0, threads=1)
    return {
        "graphs": built,
        "schedule": Schedule(),
        "objective": USUAL,
        "size": 1,
        "seed": 0,
        "pictures": [x[:1], x[1:2]],
        "labels": [Objects(np.ones((1, 4), np.float32), np.zeros(1, np.int64)), None],
    }


def test_the_same_training_has_the_same_key(trained):
    """Whenever it is asked for."""
    assert key_of(**trained) == key_of(**trained)


@pytest.mark.parametrize(
    "change", ["seed", "size", "objective", "schedule", "pictures", "labels", "graphs"]
)
def test_another_training_has_another_key(trained, change):
    """Seed, batch, loss, schedule, pictures or weights."""
    graphs = trained["graphs"]
    first, *rest = graphs.parameters
    others = {
        "seed": 1,
        "size": 2,
        "objective": Objective(agreement=0.0),
        "labels": [None, None],
        "schedule": Schedule(pictures=7),
        "pictures": [trained["pictures"][0], trained["pictures"][0]],
        "graphs": replace(graphs, parameters=(replace(first, start=first.start + 1), *rest)),
    }
    assert key_of(**trained | {change: others[change]}) != key_of(**trained)
