"""Two small detectors that hold what larger ones are built of, as ONNX text."""

import re

import numpy as np

from tests import nets

SIZE = 32
"""Height and width of the pictures."""

RESIDUAL = """
residual (float[N, 3, 32, 32] images) => (float[N, 4, b1, b2] boxes, float[N, 5, s1, s2] scores) {
    stem = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, w16x3x3x3)
    stem_n = BatchNormalization (stem, norm16)
    stem_r = Relu (stem_n)
    pooled = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (stem_r)

    a1 = Conv <pads = [1, 1, 1, 1]> (pooled, w16x16x3x3)
    a1_n = BatchNormalization (a1, norm16)
    a1_r = Relu (a1_n)
    a2 = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (a1_r, w16x16x3x3)
    a2_n = BatchNormalization (a2, norm16)
    a_sum = Add (a2_n, pooled)
    a = Relu (a_sum)

    b1 = Conv <pads = [0, 0, 1, 1], strides = [2, 2]> (a, w32x16x3x3)
    b1_n = BatchNormalization (b1, norm32)
    b1_r = Clip (b1_n, zero, six)
    b2 = Conv <pads = [1, 1, 1, 1], group = 32> (b1_r, w32x1x3x3)
    b2_n = BatchNormalization (b2, norm32)
    b2_max = Max (b2_n, zero)
    b2_r = Min (b2_max, six)
    b3 = Conv <group = 4> (b2_r, w32x8x1x1)
    b3_n = BatchNormalization (b3, norm32)
    b3_min = Min (b3_n, six)
    b3_r = Max (b3_min, zero)
    b_short = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    b_skip = Conv (b_short, w32x16x1x1)
    b_skip_n = BatchNormalization (b_skip, norm32)
    squeezed = GlobalAveragePool (b3_r)
    flattened = Flatten (squeezed)
    fewer = Gemm <transB = 1> (flattened, g8x32, v8)
    fewer_r = Relu (fewer)
    more = Gemm <transB = 1> (fewer_r, g32x8, v32)
    gate = Sigmoid (more)
    gate_4 = Reshape (gate, gate_shape)
    excited = Mul (b3_r, gate_4)
    b = Add (excited, b_skip_n)

    c1 = Conv <pads = [1, 1, 1, 1]> (b, w32x32x3x3)
    c1_n = BatchNormalization (c1, norm32)
    c1_r = LeakyRelu <alpha = 0.1> (c1_n)
    c2 = Conv (c1_r, w32x32x1x1)
    c2_n = BatchNormalization (c2, norm32)
    c2_r = PRelu (c2_n, slope32)
    c3 = Conv (c2_r, w32x32x1x1)
    c3_n = BatchNormalization (c3, norm32)
    c3_3 = Add (c3_n, three)
    c3_6 = Clip (c3_3, zero, six)
    c3_p = Mul (c3_n, c3_6)
    c3_r = Div (c3_p, six)
    c4 = Conv (c3_r, w32x32x1x1)
    c4_n = BatchNormalization (c4, norm32)
    c4_s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c4_n)
    c4_r = Mul (c4_n, c4_s)
    c5 = Conv (c4_r, w32x32x1x1)
    c5_n = BatchNormalization (c5, norm32)
    c5_3 = Add (c5_n, three)
    c5_0 = Relu (c5_3)
    c5_6 = Min (c5_0, six)
    c5_d = Div (c5_6, six)
    c5_r = Mul (c5_n, c5_d)
    c6 = Conv (c5_r, w32x32x1x1)
    c6_n = BatchNormalization (c6, norm32)
    c6_r = HardSwish (c6_n)

    up = Resize <mode = "nearest", nearest_mode = "floor",
                 coordinate_transformation_mode = "asymmetric"> (c6_r, , doubled)
    learned = ConvTranspose <strides = [2, 2]> (c6_r, w32x8x2x2, v8)
    learned_r = Relu (learned)
    joined = Concat <axis = 1> (up, a, learned_r)
    padded = Pad (joined, frame)
    d = Conv (padded, w16x56x3x3)
    d_n = BatchNormalization (d, norm16)
    d_r = Relu (d_n)
    boxes = Conv (d_r, w4x16x1x1, v4)
    logits = Conv (d_r, w5x16x1x1, v5)
    scores = Sigmoid (logits)
}
"""
"""Residual blocks, squeeze-and-excite, depthwise, grouped and dilated layers, every ReLU6 and
hard-swish that exporters write."""

ATTENTION = """
attention (float[N, 3, 32, 32] images) => (float[N, 64, 4] boxes, float[N, 5, s1, s2] scores) {
    stem = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, w16x3x3x3)
    stem_n = BatchNormalization (stem, norm16)
    stem_r = Relu (stem_n)
    patches = Conv <strides = [2, 2]> (stem_r, w32x16x2x2, v32)
    tokens = Reshape (patches, flat)
    turned = Transpose <perm = [0, 2, 1]> (tokens)
    x = Add (turned, places)

    normed = LayerNormalization (x, gain, shift)
    products = MatMul (normed, m32x96)
    qkv = Add (products, v96)
    queries, keys, values = Split <axis = 2> (qkv, thirds)
    q1 = Reshape (queries, heads)
    q = Transpose <perm = [0, 2, 1, 3]> (q1)
    k1 = Reshape (keys, heads)
    k = Transpose <perm = [0, 2, 3, 1]> (k1)
    values_4 = Reshape (values, heads)
    v = Transpose <perm = [0, 2, 1, 3]> (values_4)
    similar = MatMul (q, k)
    scaled = Mul (similar, root)
    weights = Softmax <axis = -1> (scaled)
    mixed = MatMul (weights, v)
    mixed_t = Transpose <perm = [0, 2, 1, 3]> (mixed)
    merged = Reshape (mixed_t, whole)
    projected = MatMul (merged, m32x32)
    attended = Add (v32, projected)
    y = Add (x, attended)

    mean = ReduceMean <axes = [-1]> (y)
    centred = Sub (y, mean)
    squared = Pow (centred, two)
    variance = ReduceMean <axes = [-1]> (squared)
    safe = Add (variance, epsilon)
    deviation = Sqrt (safe)
    unit = Div (centred, deviation)
    gained = Mul (unit, gain)
    normed_2 = Add (gained, shift)
    wide = MatMul (normed_2, m32x64)
    wide_b = Add (wide, v64)
    divided = Div (wide_b, sqrt_two)
    erf = Erf (divided)
    erf_1 = Add (erf, one)
    gate = Mul (wide_b, erf_1)
    gelu = Mul (gate, half)
    narrow = MatMul (gelu, m64x32)
    narrow_b = Add (narrow, v32)
    z = Add (y, narrow_b)

    box_hidden = MatMul (z, m32x32)
    box_hidden_b = Add (box_hidden, v32)
    box_hidden_r = Relu (box_hidden_b)
    box_products = MatMul (box_hidden_r, m32x4)
    boxes = Add (box_products, v4)
    back = Transpose <perm = [0, 2, 1]> (z)
    map = Reshape (back, square)
    logits = Conv (map, w5x32x1x1, v5)
    scores = Sigmoid (logits)
}
"""
"""A stem, patches, a transformer block in the spelling of opset 17 and before, two heads."""

_CONSTANTS = {
    "doubled": np.array([1, 1, 2, 2], np.float32),
    "epsilon": np.float32(1e-5),
    "flat": np.array([0, 32, 64]),
    "frame": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "gain": np.linspace(0.5, 1.5, 32, dtype=np.float32),
    "gate_shape": np.array([-1, 32, 1, 1]),
    "half": np.float32(0.5),
    "heads": np.array([0, 64, 4, 8]),
    "one": np.float32(1),
    "places": np.linspace(-1, 1, 64 * 32, dtype=np.float32).reshape(1, 64, 32),
    "root": np.float32(1 / np.sqrt(8)),
    "shift": np.linspace(-0.5, 0.5, 32, dtype=np.float32),
    "six": np.float32(6),
    "slope32": np.linspace(0.05, 0.3, 32, dtype=np.float32).reshape(32, 1, 1),
    "sqrt_two": np.float32(np.sqrt(2)),
    "square": np.array([0, 32, 8, 8]),
    "thirds": np.array([32, 32, 32]),
    "three": np.float32(3),
    "two": np.float32(2),
    "whole": np.array([0, 64, 32]),
    "zero": np.float32(0),
}


def detector(text, *, seed=0):
    """Return the model of a text, with random weights.

    Names say shapes: ``w16x3x3x3`` is the weight of a Conv, ``g8x32`` and ``m32x96`` are matrices,
    ``v8`` is a bias, ``norm16`` stands for the four parameters of a BatchNorm. Each use gets
    values of its own.
    """
    rng = np.random.default_rng(seed)
    arrays = {}

    def drawn(match):
        kind, size = match.group(1), tuple(map(int, match.group(2).split("x")))
        name = f"{match.group(0)}_{len(arrays)}"
        if kind == "norm":
            parameters = {
                "scale": rng.uniform(0.5, 1.5, size),
                "bias": rng.normal(0, 0.5, size),
                "mean": rng.normal(0, 0.2, size),
                "variance": rng.uniform(0.5, 1.5, size),
            }
        else:
            inputs = size[0] if kind == "m" else int(np.prod(size[1:]))
            parameters = {"": rng.normal(0, 1.4 / np.sqrt(inputs), size)}
        arrays.update({f"{name}{part}": np.float32(a) for part, a in parameters.items()})
        return ", ".join(f"{name}{part}" for part in parameters)

    written = re.sub(r"\b([wgmv]|norm)(\d+(?:x\d+)*)\b", drawn, text)
    constants = {n: a for n, a in _CONSTANTS.items() if re.search(rf"[(,] ?{n}\b", written)}
    model = nets.model(written, opset=17, **arrays, **constants)
    for node in model.graph.node:
        node.name = node.output[0]
    return model
