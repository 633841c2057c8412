"""NanoDet and PicoDet: distributions of distances."""

from dataclasses import replace

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, facts_of
from zqc.detection.conventions.gfl import NanoDet, PicoDet
from zqc.detection.conventions.recognise import recognise

STRIDES = (8, 16, 32, 64)


def rows(*, strides=STRIDES, bins=8, squashed=True):
    """NanoDet: scores and bins of all cells in one output."""
    net = Builder()
    found = []
    for stride in strides:
        grid = net.grid(stride)
        net.conv(f"cls{stride}", grid, 3)
        net.conv(f"bins{stride}", grid, 4 * bins)
        score = net.add(f"s{stride} = Sigmoid(cls{stride})") if squashed else f"cls{stride}"
        net.add(f"both{stride} = Concat<axis=1>({score}, bins{stride})")
        net.shaped(f"flat{stride}", f"both{stride}", 1, 3 + 4 * bins, (128 // stride) ** 2)
        found.append(net.add(f"t{stride} = Transpose<perm=[0,2,1]>(flat{stride})"))
    net.add(f"output = Concat<axis=1>({', '.join(found)})")
    net.output("output")
    return net.model()


def levels(*, flat=True, bins=8, squashed=True, strides=STRIDES):
    """PicoDet: scores and bins of each grid."""
    net = Builder()
    for stride in strides:
        grid = net.grid(stride)
        net.conv(f"cls{stride}", grid, 3)
        net.conv(f"bins{stride}", grid, 4 * bins)
        score = net.add(f"s{stride} = Sigmoid(cls{stride})") if squashed else f"cls{stride}"
        for name, value, channels in (("score", score, 3), ("box", f"bins{stride}", 4 * bins)):
            if flat:
                net.shaped(f"{name}{stride}f", value, 1, channels, (128 // stride) ** 2)
                net.add(f"{name}{stride} = Transpose<perm=[0,2,1]>({name}{stride}f)")
            else:
                net.add(f"{name}{stride} = Identity({value})")
            net.output(f"{name}{stride}", rank=3 if flat else 4)
    return net.model()


def peaks(left, top, right, bottom):
    """Bins whose distributions have their mean at these distances: one bin, or two halves."""
    bins = np.full((4, 8), -50, np.float32)
    for side, distance in enumerate((left, top, right, bottom)):
        bins[side, [int(np.floor(distance)), int(np.ceil(distance))]] = 50
    return bins.ravel()


@pytest.mark.parametrize(
    ("strides", "box"), [(STRIDES, [32, 40, 72, 112]), (STRIDES[:3], [40, 48, 80, 120])]
)
def test_nanodet_decodes_distributions(strides, box):
    """The mean of each times the stride; the first NanoDet measures from the middle of the cell."""
    convention = recognise(facts_of(rows(strides=strides)))
    assert isinstance(convention, NanoDet)
    assert (convention.strides, convention.classes) == (strides, 3)
    output = np.zeros((1, sum((128 // s) ** 2 for s in strides), 35), np.float32)
    cell = 256 + 3 * 8 + 3  # of stride 16, at (48, 48)
    output[0, cell, 1] = 0.75
    output[0, cell, 3:] = peaks(1, 0.5, 1.5, 4)
    [found] = convention.decode({"output": output}, ALL)
    assert found.boxes.tolist() == [box]
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], [0.75])


@pytest.mark.parametrize(
    "options", [{"bins": 7}, {"squashed": False}, {"strides": (16, 32, 64)}], ids=str
)
def test_other_rows_are_not_known(options):
    """Other bins, scores that are not seen to be scores, other strides."""
    assert recognise(facts_of(rows(**options))) is None


def test_rows_are_not_known_without_the_graph():
    """35 columns might be anything."""
    assert recognise(replace(facts_of(rows()), parts=(), graph=None)) is None


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("squashed", [False, True])
def test_picodet_decodes_distributions(flat, squashed):
    """The mean of each times the stride, from the middle of the cell, in either layout."""
    convention = recognise(facts_of(levels(flat=flat, squashed=squashed)))
    assert isinstance(convention, PicoDet)
    assert convention.classes == 3
    outputs = {}
    for stride in STRIDES:
        cells = 128 // stride
        scores = np.full((1, 3, cells, cells), 0 if squashed else -20, np.float32)
        outputs |= {
            f"score{stride}": scores,
            f"box{stride}": np.zeros((1, 32, cells, cells), np.float32),
        }
    outputs["score16"][0, 1, 3, 3] = 0.75 if squashed else np.log(3)
    outputs["box16"][0, :, 3, 3] = peaks(1, 0.5, 1.5, 4)
    if flat:
        outputs = {n: v.reshape(*v.shape[:2], -1).transpose(0, 2, 1) for n, v in outputs.items()}
    [found] = convention.decode(outputs, ALL)
    assert found.boxes.tolist() == [[40, 48, 80, 120]]
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.75], abs=1e-6)


@pytest.mark.parametrize("options", [{"bins": 17}, {"strides": STRIDES[:3]}], ids=str)
def test_other_distributions_are_not_known(options):
    """17 bins measure from elsewhere, and so do three levels, in other packages."""
    assert recognise(facts_of(levels(**options))) is None
