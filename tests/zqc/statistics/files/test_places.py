"""Values have the names that PyTorch gives them."""

import pytest

from zqc.statistics.files.pickle_names import Name
from zqc.statistics.files.pickles import NO_KEY, Record
from zqc.statistics.files.places import places_of


def test_modules_and_containers():
    """Modules in modules, lists and dicts; what holds itself is gone through once."""
    inner = Record(Name("torch.nn", "BatchNorm2d"), (), {"_buffers": {"running_mean": 1}, "eps": 2})
    outer = Record(Name("mine", "Net"), (), {"_modules": {"0": inner, "again": inner}})
    root = {"model": outer, "rest": [3, {"x": 4}], NO_KEY: 5}
    root["self"] = root
    assert dict(places_of(root)) == {
        ("model", "0", "running_mean"): 1,
        ("model", "0", "eps"): 2,
        ("rest", "0"): 3,
        ("rest", "1", "x"): 4,
    }


def test_nesting_has_an_end():
    """Deeper than networks are, nothing is looked for."""
    root = []
    for _ in range(1000):
        root = [root]
    with pytest.raises(RecursionError, match="levels deep"):
        list(places_of(root))
