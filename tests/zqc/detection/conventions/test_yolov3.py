"""YOLOv3 and its tiny sister; the reference is written out in torch and torchvision."""

import pytest

from tests.zqc.detection.conventions.helpers import SELECTION, facts_of, is_found, reference
from zqc.detection.conventions.anchor_heads import AnchorHeads, Head
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.conventions.yolov3 import ANCHORS

HEADS = {8: "fine", 16: "middle", 32: "coarse"}


def network(*, strides=(8, 16, 32), skip=True, activation="LeakyRelu", extra="", permuted=False):
    """A network of the structure of YOLOv3 on 32 x 32 pixels, with 2 classes.

    Grids of features are joined with the next coarser one.
    """
    first = "float[8, 3, 1, 1] w, float[8, 8, 1, 1] v, float[8, 16, 1, 1] u, float[21, 8, 1, 1] h"
    lines, outputs, before = [], [], ""
    for stride in sorted(strides, reverse=True):
        lines += [
            f"c{stride} = Conv<strides = [{stride}, {stride}]>(images, w)",
            f"a{stride} = {activation}(c{stride})",
            f"d{stride} = Conv(a{stride}, v)",
            f"s{stride} = {f'Add(a{stride}, d{stride})' if skip else f'LeakyRelu(d{stride})'}",
        ]
        end = f"s{stride}"
        if before:
            lines.append(f'up{stride} = Resize<mode = "nearest">({before}, , scales)')
            lines.append(f"j{stride} = Concat<axis = 1>(up{stride}, {end})")
            lines.append(f"m{stride} = Conv(j{stride}, u)")
            end = f"m{stride}"
        before, side, name = end, 32 // stride, HEADS[stride]
        if permuted:
            lines += [
                f"raw{stride} = Conv({end}, h)",
                f"five{stride} = Reshape(raw{stride}, shape{stride})",
                f"{name} = Transpose<perm = [0, 1, 3, 4, 2]>(five{stride})",
            ]
            outputs.append(f"float[1, 3, {side}, {side}, 7] {name}")
        else:
            lines.append(f"{name} = Conv({end}, h)")
            outputs.append(f"float[1, 21, {side}, {side}] {name}")
    shapes = ", ".join(f"int64[5] shape{s} = {{1, 3, 7, {32 // s}, {32 // s}}}" for s in strides)
    return f"""(float[1, 3, 32, 32] images, {first}) => ({", ".join(outputs)})
      <float[4] scales = {{1.0, 1.0, 2.0, 2.0}}, {shapes}> {{ {"  ".join(lines)}  {extra} }}"""


def heads():
    """The reference outputs by name."""
    arrays = reference("yolov3_8", "yolov3_16", "yolov3_32")
    return dict(zip(HEADS.values(), arrays, strict=True))


def test_a_network_is_known_and_decoded():
    """Three heads with the nine published anchors."""
    convention = recognise(facts_of(network(), size=32))
    assert isinstance(convention, AnchorHeads)
    assert {head.output: head.anchors for head in convention.heads} == {
        "fine": ANCHORS[:3],
        "middle": ANCHORS[3:6],
        "coarse": ANCHORS[6:],
    }
    [found] = convention.decode(heads(), SELECTION)
    assert is_found(found, *reference("yolov3_found"))


def test_permuted_heads_are_the_same():
    """N x 3 x h x w x (5 + C) instead of N x 3·(5 + C) x h x w."""
    convention = recognise(facts_of(network(permuted=True), size=32))
    assert convention == recognise(facts_of(network(), size=32)) is not None
    outputs = {
        name: array.reshape(1, 3, 7, *array.shape[2:]).transpose(0, 1, 3, 4, 2)
        for name, array in heads().items()
    }
    [found] = convention.decode(outputs, SELECTION)
    assert is_found(found, *reference("yolov3_found"))


def test_the_tiny_network_is_known():
    """Two heads and no skip connections; its anchors are the published ones."""
    convention = recognise(facts_of(network(strides=(16, 32), skip=False), size=32))
    assert convention == AnchorHeads(
        (
            Head("coarse", 32, ((81, 82), (135, 169), (344, 319))),
            Head("middle", 16, ((23, 27), (37, 58), (81, 82))),
        ),
        2,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"activation": "Sigmoid"},
        {"activation": "Relu"},
        {"skip": False},
        {"strides": (16, 32)},
        {"strides": (8, 16), "skip": False},
        {"extra": "side = Concat<axis = 1>(a8, d8)"},
    ],
    ids=["Sigmoid", "Relu", "no skips", "two heads with skips", "strides", "joined features"],
)
def test_other_networks_with_such_heads_are_not_read(options):
    """YOLOv4, v5 and v7 have the same heads with other anchors; each differs in its graph."""
    assert recognise(facts_of(network(**options), size=32)) is None


def test_shapes_alone_are_not_enough():
    """Without a graph, heads may be of any network with anchors."""
    shapes = {"a": (1, 255, 13, 13), "b": (1, 255, 26, 26), "c": (1, 255, 52, 52)}
    assert recognise(Facts(shapes, 416, 416)) is None
    assert recognise(Facts(shapes, 416, 416, family="yolov3")) is not None
    shapes["c"] = (1, 254, 52, 52)
    assert recognise(Facts(shapes, 416, 416, family="yolov3")) is None


def test_the_names_of_classes_must_fit():
    """Two classes by the heads, three by the file: a contradiction."""
    metadata = {"names": "['a', 'b', 'c']"}
    assert recognise(facts_of(network(), size=32, metadata=metadata)) is None
