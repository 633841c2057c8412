"""Raw heads of YOLOv8, with what the package's own decoding and suppression find."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, facts_of, is_found, reference
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolo_raw import YoloRaw

SIDES = {8: 4, 16: 2, 32: 1}
"""Of the grids of an input of 32 x 32."""


def heads(*, join, sigmoid=False, sizes=(64, 3)):
    """Raw heads for each stride, joined to one output each or two."""
    inputs, outputs, lines = ["float[1, 3, 32, 32] images"], [], []
    for stride, side in SIDES.items():
        for kind, size in zip("bs", sizes, strict=True):
            inputs.append(f"float[{size}, 3, 1, 1] w{kind}{stride}")
            end = f"{kind}{stride}" + ("_raw" if sigmoid and kind == "s" else "")
            conv = f"Conv<strides = [{stride}, {stride}]>(images, w{kind}{stride})"
            lines.append(f"{end} = {conv}")
            if end.endswith("_raw"):
                lines.append(f"{kind}{stride} = Sigmoid({end})")
            if not join:
                outputs.append(f"float[1, {size}, {side}, {side}] {kind}{stride}")
        if join:
            lines.append(f"h{stride} = Concat<axis = 1>(b{stride}, s{stride})")
            outputs.append(f"float[1, {sum(sizes)}, {side}, {side}] h{stride}")
    return f"({', '.join(inputs)}) => ({', '.join(outputs)}) {{ {'  '.join(lines)} }}"


FLAT = """(float[1, 3, 32, 32] images, float[64, 3, 1, 1] wb, float[3, 3, 1, 1] ws)
  => (float[1, 3, 21] scores, float[1, 64, 21] boxes)
  <int64[3] nb = {1, 64, -1}, int64[3] ns = {1, 3, -1}> {
    a = Conv<strides = [8, 8]>(images, wb)  b = Conv<strides = [16, 16]>(images, wb)
    c = Conv<strides = [32, 32]>(images, wb)  ra = Reshape(a, nb)  rb = Reshape(b, nb)
    rc = Reshape(c, nb)  boxes = Concat<axis = 2>(ra, rb, rc)
    d = Conv<strides = [8, 8]>(images, ws)  e = Conv<strides = [16, 16]>(images, ws)
    f = Conv<strides = [32, 32]>(images, ws)  rd = Reshape(d, ns)  re = Reshape(e, ns)
    rf = Reshape(f, ns)  scores = Concat<axis = 2>(rd, re, rf)
}"""


def split():
    """The reference outputs of each grid: distributions, logits."""
    bins, logits = reference("raw_bins", "raw_logits")
    ends = np.cumsum([0] + [side**2 for side in SIDES.values()])
    return {
        stride: tuple(part[:, :, start:stop].reshape(1, -1, side, side) for part in (bins, logits))
        for (stride, side), start, stop in zip(SIDES.items(), ends, ends[1:], strict=False)
    }


def sigmoid(x):
    """In double precision."""
    return 1 / (1 + np.exp(-x.astype(float)))


@pytest.mark.parametrize("logits", [True, False])
def test_two_outputs_for_each_grid(logits):
    """Boxes and scores apart; the graph shows whether the sigmoid has been taken."""
    convention = recognise(facts_of(heads(join=False, sigmoid=not logits), size=32))
    strides = (8, 16, 32)
    expected = YoloRaw(("b8", "b16", "b32"), ("s8", "s16", "s32"), strides, 3, logits, 32, 32)
    assert convention == expected
    parts = split()
    outputs = {f"b{s}": parts[s][0] for s in strides}
    outputs |= {f"s{s}": parts[s][1] if logits else sigmoid(parts[s][1]) for s in strides}
    [found] = convention.decode(outputs, SELECTION)
    assert is_found(found, *reference("raw_found"))


def test_one_output_for_each_grid():
    """The 64 numbers of the box come first, then the classes."""
    convention = recognise(facts_of(heads(join=True), size=32))
    assert isinstance(convention, YoloRaw)
    assert convention.boxes == convention.scores == ("h8", "h16", "h32")
    outputs = {f"h{stride}": np.concatenate(parts, axis=1) for stride, parts in split().items()}
    [found] = convention.decode(outputs, SELECTION)
    assert is_found(found, *reference("raw_found"))


def test_flat_outputs():
    """N x 64 x A and N x C x A, in any order."""
    convention = recognise(facts_of(FLAT, size=32))
    assert convention == YoloRaw(("boxes",), ("scores",), (8, 16, 32), 3, True, 32, 32)
    bins, logits, expected = reference("raw_bins", "raw_logits", "raw_found")
    [found] = convention.decode({"boxes": bins, "scores": logits}, SELECTION)
    assert is_found(found, expected)


@pytest.mark.parametrize(
    "facts",
    [
        facts_of(heads(join=True, sizes=(3, 64)), size=32),
        facts_of(heads(join=False, sizes=(64, 64)), size=32),
        facts_of(heads(join=False, sizes=(32, 3)), size=32),
        facts_of(heads(join=False), size=40),
        facts_of(heads(join=False), size=32, metadata={"task": "pose"}),
        Facts({f"h{s}": (1, 255, 32 // s, 32 // s) for s in SIDES}, 32, 32),
        Facts({"boxes": (1, 64, 21), "scores": (1, 3, 21)}, 32, 32),
    ],
    ids=["classes first", "64 classes", "8 bins", "other grids", "pose", "no graph", "logits?"],
)
def test_what_is_not_certain_is_not_read(facts):
    """Near misses: other orders and sizes, and shapes without a graph."""
    assert recognise(facts) is None
