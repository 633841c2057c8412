"""Nets of a few channels that carry the statistics of pictures that exist, and a way to run it."""

from contextlib import contextmanager

import numpy as np

from tests.passes.helpers import build_model, run_model
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.statistics.batchnorm import harvest
from zqc.synthesis.generate import synthesize
from zqc.synthesis.loop import Schedule

PICTURE = (3, 16, 12)
NET = """(float[N,3,16,12] x) => (float[a,b,c,d] y) {
    c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1)
    n1 = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
    r1 = Relu(n1)
    c2 = Conv(r1, w2)
    n2 = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
    y = Conv(n2, w3)
}"""
POINTWISE = """(float[N,3,16,12] x) => (float[a,b,c,d] y) {
    c1 = Conv(x, w1)
    y = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
}"""
PER_PICTURE = """(float[N,3,16,12] x) => (float[a,b,c,d] y) {
    c1 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1)
    r1 = Relu(c1)
    p1 = GlobalAveragePool(r1)
    c2 = Conv(p1, w2)
    y = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
}"""


def parameters(rng):
    """A layer of six channels, one of four, and a head of two."""
    shapes = {"w1": (6, 3, 3, 3), "w2": (4, 6, 1, 1), "w3": (2, 4, 1, 1)}
    arrays = {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}
    for index, count in ((1, 6), (2, 4)):
        arrays[f"g{index}"] = rng.uniform(0.5, 1.5, count)
        arrays[f"b{index}"] = rng.normal(0, 0.5, count)
        arrays[f"m{index}"] = rng.normal(0, 0.2, count)
        arrays[f"v{index}"] = rng.uniform(0.1, 0.5, count)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def net(rng, text=NET, **changes):
    """Two layers of a Conv and a BatchNorm, and a head."""
    return build_model(text, opset=17, **(parameters(rng) | changes))


def pointwise(rng):
    """One layer, to which a mirrored picture is the same, whose statistics pictures can have."""
    weight = rng.normal(0, 0.4, (4, 3, 1, 1)).astype(np.float32)
    # Statistics of smooth pictures: a random one of few pixels, enlarged.
    smooth = rng.uniform(0, 1, (4, 3, 4, 3)).repeat(4, axis=2).repeat(4, axis=3)
    seen = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], smooth)
    arrays = {
        "w1": weight,
        "g1": rng.uniform(0.5, 1.5, 4),
        "b1": rng.normal(size=4),
        "m1": seen.mean((0, 2, 3)),
        "v1": 0.3 * seen.var((0, 2, 3)),
    }
    return build_model(POINTWISE, opset=17, **{n: a.astype("f") for n, a in arrays.items()})


def per_picture(rng):
    """One layer that has one value per picture, with the statistics of patches of all colours."""
    shapes = {"w1": (6, 3, 3, 3), "w2": (4, 6, 1, 1)}
    arrays = {name: rng.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    norm = {"g2": np.ones(4), "b2": np.zeros(4), "m2": np.zeros(4), "v2": np.ones(4)}
    norm = {name: array.astype(np.float32) for name, array in norm.items()}
    patches = rng.uniform(0, 1, (64, 3, 4, 3)).repeat(4, axis=2).repeat(4, axis=3)
    seen = run_model(build_model(PER_PICTURE, opset=17, **arrays, **norm), x=patches.astype("f"))
    norm["m2"], norm["v2"] = seen["y"].mean((0, 2, 3)), seen["y"].var((0, 2, 3))
    return build_model(PER_PICTURE, opset=17, **arrays, **norm)


def made(
    model,
    *,
    samples=4,
    steps=3,
    batch=1,
    picture=PICTURE,
    input_format=None,
    objective=None,
    progress=None,
    threads=1,
    state=None,
    afterwards=None,
    **options,
):
    """Synthesise, on one thread unless said otherwise."""
    return synthesize(
        model,
        harvest(model),
        picture=picture,
        input_format=input_format or InputFormat(),
        schedule=Schedule(samples, steps, batch, **options),
        progress=progress or Silent(),
        objective=objective,
        threads=threads,
        state=state,
        afterwards=afterwards,
    )


class Recorder(Silent):
    """Writes down what it is told; the n-th advance can be where Ctrl-C is pressed."""

    def __init__(self, interrupted=None):
        self.tasks, self.notes, self.steps = [], [], []
        self.interrupted = interrupted

    @contextmanager
    def task(self, name, total):
        """Begin to write."""
        self.tasks.append((name, total))
        yield self

    def advance(self, note="", steps=1):
        """Write one line."""
        self.notes.append(note)
        self.steps.append(steps)
        if sum(self.steps) == self.interrupted:
            raise KeyboardInterrupt
