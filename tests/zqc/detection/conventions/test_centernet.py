"""CenterNet: peaks of heat maps."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.families import ALL, Builder, check_reference, facts_of
from zqc.detection.conventions.centernet import CenterNet
from zqc.detection.conventions.recognise import recognise


def maps(names=("hm", "wh", "reg"), *, last="none", channels=(5, 2, 2)):
    """Three outputs on the grid of stride 4."""
    net = Builder()
    grid = net.grid(4)
    heat, *others = names
    net.conv("raw", grid, channels[0])
    if last == "none":
        net.add(f"{heat} = Identity(raw)")
    else:
        net.add("heat_ = Sigmoid(raw)")
    if last == "sigmoid":
        net.add(f"{heat} = Identity(heat_)")
    if last == "peaks":
        net.add("around = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(heat_)")
        net.add("equal = Equal(around, heat_)")
        net.add("mask = Cast<to=1>(equal)")
        net.add(f"{heat} = Mul(heat_, mask)")
    for name, count in zip(others, channels[1:], strict=True):
        net.conv(name, grid, count)
    for name in names:
        net.output(name, rank=4)
    return net.model()


def test_peaks_are_read_as_the_paper_does():
    """Peaks, offsets and sizes equal those of a MaxPool and a TopK in PyTorch."""
    found = check_reference("centernet", maps())
    assert found == CenterNet("hm", "wh", "reg", 4, 5, logits=True)


@pytest.mark.parametrize("last", ["sigmoid", "peaks"])
def test_heat_may_be_squashed_and_peaks_alone(last):
    """Then it is not squashed again; zeros beside the peaks are no objects."""
    convention = recognise(facts_of(maps(("heat", "offset", "size"), last=last)))
    assert convention == CenterNet("heat", "size", "offset", 4, 5, logits=False)
    outputs = {
        "heat": np.zeros((1, 5, 32, 32), np.float32),
        "size": np.full((1, 2, 32, 32), [[[[4]], [[2]]]], np.float32),
        "offset": np.full((1, 2, 32, 32), 0.5, np.float32),
    }
    outputs["heat"][0, 2, 5, 7:9] = [0.75, 0.7]  # the second is beside the peak
    [found] = convention.decode(outputs, ALL)
    assert found.boxes.tolist() == [[22, 18, 38, 26]]
    assert (found.labels.tolist(), found.scores.tolist()) == ([2], [0.75])


@pytest.mark.parametrize(
    "options",
    [{"names": ("a", "b", "c")}, {"names": ("hm", "wh", "size")}, {"channels": (5, 2, 3)}],
    ids=str,
)
def test_what_is_size_and_what_is_offset_is_not_guessed(options):
    """Names that say nothing, or the same twice, and outputs of other sizes."""
    assert recognise(facts_of(maps(**options))) is None
