"""YOLOX raw and decoded; the reference is its published formula, written out in torch."""

import numpy as np
import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, facts_of, is_found, reference
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolox import YoloX

STRIDES = (8, 16, 32)


def network(*, decoded="", classes=3, objectness=1):
    """Heads with a branch each for box, objectness and classes, one row for each cell."""
    sizes = {"b": 4, "o": objectness, "c": classes}
    lines, grids = [], []
    for stride in STRIDES:
        for kind in sizes:
            lines.append(f"{kind}{stride} = Conv<strides = [{stride}, {stride}]>(images, w{kind})")
        lines += [f"p{stride} = Sigmoid(o{stride})", f"q{stride} = Sigmoid(c{stride})"]
        lines.append(f"h{stride} = Concat<axis = 1>(b{stride}, p{stride}, q{stride})")
        lines.append(f"f{stride} = Reshape(h{stride}, flat)")
        grids.append(f"f{stride}")
    lines.append(f"columns = Concat<axis = 2>({', '.join(grids)})")
    name = "rows" if decoded else "output"
    lines.append(f"{name} = Transpose<perm = [0, 2, 1]>(columns)")
    if decoded:
        lines += ["xy, wh, scores = Split<axis = 2>(rows, parts)", *decoded.split("; ")]
        lines.append("output = Concat<axis = 2>(centre, size, scores)")
    total = sum(sizes.values())
    weights = ", ".join(f"float[{n}, 3, 1, 1] w{kind}" for kind, n in sizes.items())
    return f"""(float[1, 3, 32, 32] images, {weights}, float[1, 21, 2] grid, float[1, 21, 1] s)
      => (float[1, 21, {total}] output)
      <int64[3] flat = {{1, {total}, -1}}, int64[3] parts = {{2, 2, {total - 4}}}>
      {{ {"  ".join(lines)} }}"""


IN_PIXELS = "moved = Add(xy, grid); centre = Mul(moved, s); e = Exp(wh); size = Mul(e, s)"


def test_a_raw_network_is_known_and_decoded():
    """Centres are relative to the corner of the cell, sizes are logarithms, both in cells."""
    convention = recognise(facts_of(network(), size=32))
    assert convention == YoloX("output", 3, STRIDES, 32, 32)
    assert convention.mode == "letterbox-top-left"
    output, expected = reference("yolox", "yolox_found")
    [found] = convention.decode({"output": output}, SELECTION)
    assert is_found(found, expected)


def test_a_network_that_decodes_itself_is_known():
    """Exponentials in the graph mean that boxes are in pixels: they are taken as they are."""
    convention = recognise(facts_of(network(decoded=IN_PIXELS), size=32))
    assert convention == YoloX("output", 3, (), 32, 32)
    raw, expected = reference("yolox", "yolox_found")
    decoded = raw.copy()
    cells = [(x, y, s) for s in STRIDES for y in range(32 // s) for x in range(32 // s)]
    x, y, s = np.array(cells, np.float32).T
    decoded[0, :, 0], decoded[0, :, 1] = (raw[0, :, 0] + x) * s, (raw[0, :, 1] + y) * s
    decoded[0, :, 2:4] = np.exp(raw[0, :, 2:4]) * s[:, None]
    [found] = convention.decode({"output": decoded}, SELECTION)
    assert is_found(found, expected)


HALF = "moved = Add(xy, grid); centre = Mul(moved, s); size = Identity(wh)"


@pytest.mark.parametrize(
    "facts",
    [
        facts_of(network(decoded=HALF), size=32),
        facts_of(network(classes=3, objectness=2), size=32),
        facts_of(network(), size=40),
        facts_of(network(), size=32, metadata={"names": "['a', 'b', 'c', 'd']"}),
        Facts({"output": (1, 21, 8)}, 32, 32),
    ],
    ids=["half decoded", "no objectness", "other grids", "four classes", "no graph"],
)
def test_what_the_graph_does_not_show_is_not_read(facts):
    """Raw and decoded boxes have the same shape, and so have four classes without objectness."""
    assert recognise(facts) is None
