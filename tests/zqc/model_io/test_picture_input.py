"""Whatever a file takes, zqc works with float32, channels first."""

import numpy as np
import pytest

from tests import nets
from tests.zqc.model_io.helpers import load, operators, outputs
from zqc.runtime import session

WEIGHT = nets.weights()["weight"]
MEAN = np.array([1, 2, 3], np.float32)

LAST = "net ({kind}[N, 8, 8, 3] x) => (float[N, 8, {sizes}] y) {{ {before} y = Conv (n, weight) }}"
FIRST = "net (uint8[N, 3, 8, 8] x) => (float[N, 8, {sizes}] y) {{ {before} y = Conv (n, weight) }}"


def check(proto, tmp_path, rng, expected):
    """Operators of the loaded model, and the values of both it and the restored file."""
    source = load(proto, tmp_path)
    image = source.model.graph.inputs[0]
    assert image.shape[1:] == (3, 8, 8)
    assert operators(source.model) == expected
    tensors = rng.integers(0, 256, (2, 3, 8, 8)).astype(np.float32)
    feeds = source.interface.taken.feeds(tensors)
    reference = session.load(proto.SerializeToString(), threads=1)(feeds)
    loaded = outputs(source.model, tensors)
    restored = session.load(source.interface.restored(source.model), threads=1)(feeds)
    for name, value in reference.items():
        np.testing.assert_allclose(loaded[name], value, rtol=0, atol=1e-3)
        np.testing.assert_allclose(restored[name], value, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "before", "expected"),
    [
        ("float", "n = Transpose <perm = [0, 3, 1, 2]> (x)", ["Conv"]),
        (
            "float",
            "a = Sub (x, mean) b = Mul (a, mean) n = Transpose <perm = [0, 3, 1, 2]> (b)",
            ["Sub", "Conv"],
        ),
        (
            "uint8",
            "c = Cast <to = 1> (x) d = Div (c, mean) n = Transpose <perm = [0, 3, 1, 2]> (d)",
            ["Div", "Conv"],
        ),
        (
            "uint8",
            "t = Transpose <perm = [0, 3, 1, 2]> (x) n = Cast <to = 1> (t)",
            ["Conv"],
        ),
        (
            "float",
            "p = Pad (x, pads) n = Transpose <perm = [0, 3, 1, 2]> (p)",
            ["Conv"],
        ),
        (
            "float",
            "s = Sigmoid (x) n = Transpose <perm = [0, 3, 1, 2]> (s)",
            ["Transpose", "Sigmoid", "Transpose", "Conv"],
        ),
    ],
)
def test_channels_last(kind, before, expected, tmp_path, rng):
    """The Transpose of the file and that of the loaded model meet, across constants per channel."""
    arrays = {"weight": WEIGHT, "mean": MEAN, "pads": np.array([0, 1, 0, 0, 0, 2, 1, 0])}
    used = {name: array for name, array in arrays.items() if name in before + "weight"}
    sizes = "9, 7" if "Pad" in before else "6, 6"
    proto = nets.model(LAST.format(kind=kind, before=before, sizes=sizes), **used)
    check(proto, tmp_path, rng, expected)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("n = Cast <to = 1> (x)", ["Conv"]),
        ("a = Concat <axis = 1> (x) n = Cast <to = 1> (a)", ["Conv"]),
        ("f = Gather <axis = 1> (x, order) n = Cast <to = 1> (f)", ["Gather", "Conv"]),
        ("a = Max (x, floor) n = Cast <to = 1> (a)", ["Cast", "Max", "Cast", "Conv"]),
    ],
)
def test_pixels(before, expected, tmp_path, rng):
    """Casts to float are gone; where the model computes with integers, it gets them."""
    arrays = {"order": np.array([2, 1, 0]), "floor": np.array([9], np.uint8)}
    used = {name: array for name, array in arrays.items() if name in before}
    text = FIRST.format(before=before, sizes="6, 6")
    proto = nets.model(text, weight=WEIGHT, **used)
    check(proto, tmp_path, rng, expected)
