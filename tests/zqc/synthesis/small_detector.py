"""A detector with BatchNorm in the convention of YOLO, small enough to synthesise for."""

import numpy as np

from tests.passes.helpers import build_model
from zqc.detection.conventions.grids import cell_points

SIZE, CLASSES = 64, 2
CELLS = 84
GRAPH = """(float[N,3,64,64] images) => (float[N,6,84] output0) {
    conv = Conv<kernel_shape=[8, 8], strides=[8, 8]>(images, stem)
    norm = BatchNormalization(conv, gamma, beta, mean, var)
    fine = LeakyRelu<alpha=0.1>(norm)
    middle = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(fine)
    coarse = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(middle)
    f = Reshape(fine, flat)
    m = Reshape(middle, flat)
    c = Reshape(coarse, flat)
    cells = Concat<axis=2>(f, m, c)
    off = MatMul(to_box, cells)
    moved = Tanh(off)
    near = Mul(moved, reach)
    boxes = Add(near, around)
    logits = MatMul(to_class, cells)
    scores = Sigmoid(logits)
    output0 = Concat<axis=1>(boxes, scores)
}"""


def detector(seed=0):
    """The detector, with random weights and statistics."""
    rng = np.random.default_rng(seed)
    points, strides = cell_points((SIZE, SIZE), (8, 16, 32), offset=0.5)
    around = np.concatenate([points, 2 * strides.repeat(2, axis=1)], axis=1).T[None]
    model = build_model(
        GRAPH,
        opset=17,
        stem=rng.normal(0, 0.1, (8, 3, 8, 8)).astype(np.float32),
        gamma=rng.uniform(0.5, 1.5, 8).astype(np.float32),
        beta=rng.normal(0, 0.3, 8).astype(np.float32),
        mean=rng.normal(0, 0.5, 8).astype(np.float32),
        var=rng.uniform(0.1, 0.5, 8).astype(np.float32),
        to_box=rng.normal(0, 0.3, (4, 8)).astype(np.float32),
        to_class=rng.normal(0, 0.5, (CLASSES, 8)).astype(np.float32),
        reach=(0.3 * strides.T[None]).astype(np.float32),
        around=around.astype(np.float32),
        flat=np.array([0, 8, -1]),
    )
    model.metadata_props.update(task="detect", names="{0: 'cat', 1: 'dog'}")
    return model
