"""Small networks of known families, and what their packages find in random outputs."""

from pathlib import Path

import numpy as np

from tests.passes.helpers import build_model, run_model
from tools.reference.conventions_families import SIZE, random_outputs
from zqc.detection.conventions.convention import Facts
from zqc.detection.conventions.recognise import recognise
from zqc.detection.nms import Selection
from zqc.detection.parts import output_parts

REFERENCES = Path(__file__).with_name("families.npz")
ALL = Selection(score_threshold=0.5, iou_threshold=1.0, candidates=10**6, detections=10**6)
"""Every candidate above one half: what packages differ in is not compared."""


class Builder:
    """Collects the text of a network whose input is one picture ``x``."""

    def __init__(self, size=SIZE):
        self.size = size
        self.lines, self.outputs, self.arrays = [], [], {}
        self.rng = np.random.default_rng(7)

    def add(self, text, **arrays):
        """Add nodes as ONNX text, and constants; return the name of what they compute."""
        self.lines.append(text)
        self.arrays |= arrays
        return text.split(" = ")[0].split(",")[0].strip()

    def grid(self, stride):
        """The means of the picture over the cells of a stride."""
        pool = f"kernel_shape=[{stride},{stride}], strides=[{stride},{stride}]"
        return self.add(f"grid{stride} = AveragePool<{pool}>(x)")

    def conv(self, name, source, outputs, inputs=3, *, group=1, kernel=1):
        """A convolution that keeps the size."""
        shape = (outputs, inputs // group, kernel, kernel)
        weight = self.rng.normal(0, 1, shape).astype(np.float32)
        pads = ",".join([str(kernel // 2)] * 4)
        text = f"{name} = Conv<group={group}, pads=[{pads}]>({source}, {name}_w)"
        return self.add(text, **{f"{name}_w": weight})

    def linear(self, name, source, outputs, inputs=3):
        """A product with a matrix and its bias."""
        weight = self.rng.normal(0, 1, (inputs, outputs)).astype(np.float32)
        self.add(f"{name}_p = MatMul({source}, {name}_w)", **{f"{name}_w": weight})
        bias = np.zeros(outputs, np.float32)
        return self.add(f"{name} = Add({name}_p, {name}_b)", **{f"{name}_b": bias})

    def shaped(self, name, source, *shape):
        """A Reshape."""
        return self.add(
            f"{name} = Reshape({source}, {name}_s)", **{f"{name}_s": np.array(shape, np.int64)}
        )

    def output(self, name, kind="float", rank=3):
        """Make a value an output of open sizes."""
        sizes = ",".join(f"{name}_{axis}" for axis in range(rank))
        self.outputs.append(f"{kind}[{sizes}] {name}")

    def model(self):
        """Return the network."""
        body = "\n".join(self.lines)
        text = f"(float[1,3,{self.size},{self.size}] x) => ({', '.join(self.outputs)}) {{ {body} }}"
        return build_model(text, **self.arrays)


def facts_of(model, size=SIZE, **known):
    """What is known of a network after it has been run once."""
    outputs = run_model(model, x=np.zeros((1, 3, size, size), np.float32))
    shapes = {name: value.shape for name, value in outputs.items()}
    return Facts(shapes, size, size, graph=model.graph, parts=output_parts(model), **known)


def check_reference(family, model, *, most=None, clipped=False):
    """Check that a network is recognised, and read as its package reads it."""
    facts = facts_of(model)
    outputs = random_outputs(family)
    assert facts.outputs == {name: value.shape for name, value in outputs.items()}
    convention = recognise(facts)
    assert convention is not None
    [found] = convention.decode(outputs, ALL)
    expected = np.load(REFERENCES)[family]
    assert len(expected) >= 3
    assert most is not None or len(found) == len(expected)
    found = found.take(np.arange(len(found))[:most])
    boxes = found.boxes.clip(0, SIZE) if clipped else found.boxes
    np.testing.assert_allclose(boxes, expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-5)
    assert found.labels.tolist() == expected[:, 5].astype(int).tolist()
    return convention


STRIDES = (8, 16, 32, 64, 128)


def torchvision_heads(columns, anchors, *, order="0,3,4,1,2", squashed=False, relu=()):
    """All levels of each head in one output, reordered as torchvision does it."""
    net = Builder()
    for stride in STRIDES:
        net.grid(stride)
    for name, count in columns.items():
        found = []
        for stride in STRIDES:
            cells = SIZE // stride
            each = f"{name}{stride}"
            net.conv(each, f"grid{stride}", anchors * count)
            if name in relu:
                each = net.add(f"{each}r = Relu({each})")
            net.shaped(f"{each}a", each, 1, anchors, count, cells, cells)
            net.add(f"{each}b = Transpose<perm=[{order}]>({each}a)")
            found.append(net.shaped(f"{each}c", f"{each}b", 1, -1, count))
        raw = f"{name}_raw" if squashed else name
        net.add(f"{raw} = Concat<axis=1>({', '.join(found)})")
        if squashed:
            net.add(f"{name} = Sigmoid({raw})")
        net.output(name)
    return net.model()


def decoded(
    *,
    columns=(0, 1, 2, 3),
    centred=False,
    relative=False,
    per_cell=1,
    scale=1.0,
    matrix=None,
    scores=None,
    names=5,
    by_class=False,
    landmarks=0,
):
    """Boxes of strides 8 and 16 that are decoded in the graph; perhaps scores beside them."""
    net = Builder()
    places, sizes = [], []
    for stride in (8, 16):
        rows, across = np.mgrid[: SIZE // stride, : SIZE // stride]
        middle = (np.stack([across, rows], axis=-1).reshape(-1, 2) + 0.5) * stride
        widths = [[(1 + each) * stride, (1 + each / 2) * stride] for each in range(per_cell)]
        places.append(np.repeat(middle, per_cell, axis=0))
        sizes.append(np.tile(widths, (len(middle), 1)))
    whole = scale / SIZE if relative else scale
    place, size = (np.concatenate(each)[None] * whole for each in (places, sizes))

    def rows_of(name, count):
        found = []
        for stride in (8, 16):
            net.conv(f"{name}{stride}", f"grid{stride}", count * per_cell)
            net.add(f"{name}{stride}t = Transpose<perm=[0,2,3,1]>({name}{stride})")
            found.append(net.shaped(f"{name}{stride}r", f"{name}{stride}t", 1, -1, count))
        return net.add(f"{name} = Concat<axis=1>({', '.join(found)})")

    for stride in (8, 16):
        net.grid(stride)
    rows_of("codes", 4)
    net.add("move, grow = Split<axis=2, num_outputs=2>(codes)")
    net.add("moved = Mul(move, size)", size=size.astype(np.float32))
    net.add("centre = Add(moved, place)", place=place.astype(np.float32))
    net.add("times = Exp(grow)")
    net.add("extent = Mul(times, size)")
    if centred:
        net.add("written = Concat<axis=2>(centre, extent)")
    else:
        net.add("half = Mul(extent, one_half)", one_half=0.5)
        net.add("low = Sub(centre, half)")
        net.add("high = Add(centre, half)")
        net.add("written = Concat<axis=2>(low, high)")
    last = "ordered" if matrix is not None else "boxes"
    net.add(f"{last} = Gather<axis=2>(written, columns)", columns=np.array(columns))
    if matrix is not None:
        net.add("boxes = MatMul(ordered, turn)", turn=matrix)
    net.output("boxes")
    if scores is not None:
        rows_of("logits", names)
        last = "squashed" if by_class else "scores"
        net.add(f"{last} = {scores}(logits)")
        if by_class:
            net.add("scores = Transpose<perm=[0,2,1]>(squashed)")
        net.output("scores")
    if landmarks:
        rows_of("landmarks", landmarks)
        net.output("landmarks")
    return net.model()
