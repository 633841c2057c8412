"""Random small networks of the supported operators, as a strategy of hypothesis.

The strategy draws the blocks, so that a failure shrinks to few of them; a seeded generator draws
what is inside a block: kernels, strides, groups, pads, parameters.
"""

import re
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.passes.helpers import build_model

ACTIVATIONS = {
    "none": "{o} = Identity({i})",
    "relu": "{o} = Relu({i})",
    "relu6": "{o} = Clip({i}, zero, six)",
    "clip": "{o} = Clip({i}, zero)",
    "leaky": "{o} = LeakyRelu<alpha=0.1>({i})",
    "prelu": "{o} = PRelu({i}, {slopes})",
    "silu": "{o}_s = Sigmoid({i}) {o} = Mul({i}, {o}_s)",
    "spelled silu": """{o}_m = Neg({i}) {o}_e = Exp({o}_m) {o}_d = Add({o}_e, one)
        {o} = Div({i}, {o}_d)""",
    "hardswish": "{o} = HardSwish({i})",
    "gated hardswish": """{o}_g = HardSigmoid<alpha=0.16666667, beta=0.5>({i})
        {o} = Mul({o}_g, {i})""",
    "spelled hardswish": """{o}_a = Add({i}, three) {o}_c = Clip({o}_a, zero, six)
        {o}_g = Div({o}_c, six) {o} = Mul({i}, {o}_g)""",
    "divided hardswish": """{o}_a = Add(three, {i}) {o}_c = Clip({o}_a, zero, six)
        {o}_p = Mul({i}, {o}_c) {o} = Div({o}_p, six)""",
    "hardsigmoid": "{o} = HardSigmoid<alpha=0.2, beta=0.5>({i})",
    "spelled hardsigmoid": """{o}_a = Add({i}, three) {o}_c = Clip({o}_a, zero, six)
        {o} = Mul({o}_c, sixth)""",
    "sigmoid": "{o} = Sigmoid({i})",
    "gelu": "{o} = Gelu({i})",
    "elu": "{o} = Elu<alpha=0.5>({i})",
}
"""Every activation function in every spelling."""

_SMALLEST, _LARGEST = 2, 16


class Tensor(NamedTuple):
    """A tensor of a network while it is written: name, channels, height and width."""

    name: str
    channels: int
    height: int
    width: int


class Writer:
    """Writes operators and their parameters."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.lines = []
        self.arrays = {"zero": 0.0, "one": 1.0, "three": 3.0, "six": 6.0, "sixth": 1 / 6}

    def choice(self, *options):
        """Draw one of some values."""
        return options[int(self.rng.integers(len(options)))]

    def groups(self, x):
        """Draw how many groups the channels of a tensor are in."""
        return self.choice(1, 2) if x.channels % 2 == 0 else 1

    def constant(self, array):
        """Store an array and return its name."""
        name = f"p{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def weight(self, *shape, fan_in):
        """Normal numbers that keep the size of a signal, with channels of different sizes."""
        sizes = np.exp(self.rng.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1))))
        values = self.rng.normal(0, 1 / np.sqrt(fan_in), shape) * sizes
        return self.constant(values.astype(np.float32))

    def vector(self, *shape, low=-1.0, high=1.0):
        """Uniform numbers."""
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def emit(self, text, *sources, **parts):
        """Write an operator and return the name of its output."""
        out = f"t{len(self.lines)}"
        inputs = ", ".join(source.name for source in sources)
        self.lines.append(text.format(o=out, i=inputs, **parts))
        return out

    def activation(self, x, kind):
        """Write an activation function."""
        slopes = self.vector(x.channels, 1, 1, low=0, high=0.5) if kind == "prelu" else ""
        return x._replace(name=self.emit(ACTIVATIONS[kind], x, slopes=slopes))

    def batchnorm(self, x):
        """Write a BatchNormalization."""
        c = x.channels
        parameters = [self.vector(c, low=0.3, high=2), self.vector(c), self.vector(c)]
        parameters.append(self.vector(c, low=0.1, high=2))
        text = f"{{o}} = BatchNormalization<epsilon=0.001>({{i}}, {', '.join(parameters)})"
        return x._replace(name=self.emit(text, x))

    def conv(self, x, channels, *, kernel=3, stride=1, dilation=1, pads=None, groups=1):
        """Write a Conv, with or without bias; by default it keeps height and width."""
        channel_range = dilation * (kernel - 1)
        top, left, bottom, right = [channel_range // 2] * 4 if pads is None else pads
        size = [(s - channel_range - 1) // stride + 1
                for s in (x.height + top + bottom, x.width + left + right)]  # fmt: skip
        if min(size) < _SMALLEST:
            return self.conv(x, channels, kernel=kernel, groups=groups)
        shape = (channels, x.channels // groups, kernel, kernel)
        parameters = [self.weight(*shape, fan_in=np.prod(shape[1:]))]
        if self.choice(True, False):
            parameters.append(self.vector(channels))
        text = (
            f"{{o}} = Conv<strides=[{stride},{stride}], dilations=[{dilation},{dilation}], "
            f"pads=[{top},{left},{bottom},{right}], group={groups}>({{i}}, {', '.join(parameters)})"
        )
        return Tensor(self.emit(text, x), channels, *size)

    def transposed(self, x, channels, *, stride, groups):
        """Write a ConvTranspose of kernel 3 with pads on some sides, with or without bias."""
        top, left, bottom, right = (self.choice(0, 1) for _ in range(4))
        size = [stride * (s - 1) + 3 - pad
                for s, pad in ((x.height, top + bottom), (x.width, left + right))]  # fmt: skip
        fan_in = x.channels // groups * 9 / stride**2
        parameters = [self.weight(x.channels, channels // groups, 3, 3, fan_in=fan_in)]
        if self.choice(True, False):
            parameters.append(self.vector(channels))
        text = (
            f"{{o}} = ConvTranspose<strides=[{stride},{stride}], group={groups}, "
            f"pads=[{top},{left},{bottom},{right}]>({{i}}, {', '.join(parameters)})"
        )
        return Tensor(self.emit(text, x), channels, *size)

    def pool(self, x, text, *, kernel, stride, pad=0):
        """Write a pool over space."""
        name = self.emit(f"{{o}} = {text}({{i}})".replace("KSP", (
            f"kernel_shape=[{kernel},{kernel}], strides=[{stride},{stride}], pads={[pad] * 4}"
        )), x)  # fmt: skip
        size = [(s + 2 * pad - kernel) // stride + 1 for s in (x.height, x.width)]
        return Tensor(name, x.channels, *size)

    def concat(self, *parts):
        """Write a Concat of channels."""
        name = self.emit("{o} = Concat<axis=1>({i})", *parts)
        return parts[0]._replace(name=name, channels=sum(p.channels for p in parts))

    def maybe_batchnorm(self, x):
        """Write a BatchNormalization or nothing."""
        return self.batchnorm(x) if self.choice(True, False) else x


def _conv(w, x, activation):
    y = w.conv(
        x,
        w.choice(4, 6, 8),
        kernel=w.choice(1, 3, 3),
        stride=w.choice(1, 1, 2),
        dilation=w.choice(1, 1, 2),
        pads=tuple(w.choice(0, 1, 2) for _ in range(4)),
        groups=w.groups(x),
    )
    return w.activation(w.maybe_batchnorm(y), activation)


def _depthwise(w, x, activation):
    channels = x.channels * w.choice(1, 1, 2)
    y = w.conv(x, channels, stride=w.choice(1, 2), groups=x.channels)
    return w.activation(w.maybe_batchnorm(y), activation)


def _transposed(w, x, activation):
    stride = 2 if 2 * max(x.height, x.width) <= _LARGEST else 1
    y = w.transposed(x, w.choice(4, 6), stride=stride, groups=w.groups(x))
    return w.activation(w.maybe_batchnorm(y), activation)


def _preactivation(w, x, activation):
    y = w.activation(w.batchnorm(x), activation)
    return w.conv(y, w.choice(4, 6), pads=(0, 1, 1, 0))


def _loose_batchnorm(w, x, activation):
    """A BatchNormalization between a pool and a Conv that pads, or not."""
    y = w.batchnorm(w.pool(x, "MaxPool<KSP>", kernel=3, stride=1, pad=1))
    return w.activation(w.conv(y, w.choice(4, 6), kernel=w.choice(1, 3)), activation)


def _residual(w, x, activation):
    y = w.activation(w.maybe_batchnorm(w.conv(x, x.channels)), activation)
    y = w.maybe_batchnorm(w.conv(y, x.channels, kernel=1))
    y = x._replace(name=w.emit("{o} = Add({i})", *w.choice((x, y), (y, x))))
    return w.activation(y, w.choice("none", activation))


def _concat(w, x, activation):
    branches = [w.activation(w.maybe_batchnorm(w.conv(x, 4, kernel=k)), activation) for k in (1, 3)]
    return w.conv(w.concat(*branches, *w.choice((), (x,))), w.choice(4, 6), kernel=1)


def _split(w, x, activation):
    half = x.channels // 2
    parts = w.constant(np.array([half, x.channels - half]))
    first = w.emit(f"{{o}}, {{o}}_b = Split<axis=1>({{i}}, {parts})", x)
    rest = x._replace(name=f"{first}_b", channels=x.channels - half)
    y = w.activation(w.conv(x._replace(name=first, channels=half), 4), activation)
    return w.concat(*w.choice((y, rest), (rest, y)))


def _pool(w, x, activation):
    y = w.activation(w.conv(x, 4, kernel=1), activation)
    if min(x.height, x.width) < 2 * _SMALLEST:
        return w.pool(y, "MaxPool<KSP>", kernel=3, stride=1, pad=1)
    return w.pool(y, "MaxPool<KSP>", kernel=2, stride=2)


def _average(w, x, activation):
    y = w.activation(w.conv(x, 4, kernel=1), activation)
    if min(x.height, x.width) < 2 * _SMALLEST:
        counted = w.choice(0, 1)
        return w.pool(
            y, f"AveragePool<KSP, count_include_pad={counted}>", kernel=3, stride=1, pad=1
        )
    return w.pool(y, "AveragePool<KSP>", kernel=2, stride=2)


def _resize(w, x, activation):
    y = w.activation(w.conv(x, 4), activation)
    if 2 * max(y.height, y.width) > _LARGEST:
        return y
    scales = w.constant(np.float32([1, 1, 2, 2]))
    text = (
        '{{o}} = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", '
        'nearest_mode="floor">({{i}}, , {})'
    )
    return Tensor(w.emit(text.format(scales), y), y.channels, 2 * y.height, 2 * y.width)


def _squeeze_excite(w, x, activation):
    pooled = Tensor(w.emit("{o} = GlobalAveragePool({i})", x), x.channels, 8, 8)
    squeezed = w.activation(w.conv(pooled, 2, kernel=1), activation)
    gate = w.conv(squeezed, x.channels, kernel=1)
    gate = w.activation(gate, w.choice("sigmoid", "hardsigmoid", "spelled hardsigmoid"))
    return x._replace(name=w.emit("{o} = Mul({i})", x, gate))


def _arithmetic(w, x, activation):
    """Constant factors and additions, behind a layer and behind its activation function."""
    y = w.conv(x, 6, kernel=1)
    for text in ("{o} = Mul({i}, {p})", "{o} = Add({p}, {i})", "{o} = Div({i}, {p})"):
        y = y._replace(name=w.emit(text, y, p=w.vector(6, 1, 1, low=0.5, high=2)))
    y = w.activation(y, activation)
    text = w.choice("{o} = Mul({i}, {p})", "{o} = Add({i}, {p})")
    return y._replace(name=w.emit(text, y, p=w.vector(1, 6, 1, 1)))


BLOCKS = {
    "conv": _conv,
    "depthwise": _depthwise,
    "transposed": _transposed,
    "preactivation": _preactivation,
    "loose batchnorm": _loose_batchnorm,
    "residual": _residual,
    "concat": _concat,
    "split": _split,
    "pool": _pool,
    "average": _average,
    "resize": _resize,
    "squeeze and excite": _squeeze_excite,
    "arithmetic": _arithmetic,
}
"""Every block, by what it is for."""


def _scores(w, x, activation):
    w.lines.append(f"y = Sigmoid({w.conv(x, 3, kernel=1).name})")


def _boxes_and_scores(w, x, activation):
    shape, stride = w.constant(np.array([1, 3, -1])), w.vector(1, low=2, high=8)
    boxes, scores = (
        w.emit(f"{{o}} = Reshape({{i}}, {shape})", w.conv(w.activation(x, activation), 3, kernel=1))
        for _ in range(2)
    )
    w.lines.append(f"pixels = Mul({boxes}, {stride}) scores = Sigmoid({scores})")
    w.lines.append("y = Concat<axis=1>(pixels, scores)")


def _classes(w, x, activation):
    pooled = Tensor(w.emit("{o} = GlobalAveragePool({i})", x), x.channels, 1, 1)
    flat = pooled._replace(name=w.emit("{o} = Flatten({i})", pooled))
    hidden = w.weight(6, x.channels, fan_in=x.channels)
    y = flat._replace(name=w.emit(f"{{o}} = Gemm<transB=1>({{i}}, {hidden})", flat))
    y = w.activation(y, activation if activation != "prelu" else "leaky")
    w.lines.append(f"y = Gemm({y.name}, {w.weight(6, 3, fan_in=6)}, {w.vector(3)})")


HEADS = {
    "scores": (_scores, 4),
    "boxes and scores": (_boxes_and_scores, 3),
    "classes": (_classes, 2),
}
"""What a network ends in, and the rank of its output."""


class Plan(NamedTuple):
    """What a network is made of; blocks and head are names with the name of an activation."""

    seed: int
    blocks: list[tuple[str, str]]
    head: tuple[str, str]


def network(plan):
    """Return the network of a plan and two pictures for its input ``x``."""
    w = Writer(plan.seed)
    head, activation = plan.head
    pads = w.choice((0, 0, 0, 0), (1, 0, 1, 2))  # 4×8 or 5×9 pixels
    stem = w.conv(Tensor("x", 3, 9, 17), 4, stride=2, pads=pads)
    x = w.activation(w.maybe_batchnorm(stem), activation)
    for block, function in plan.blocks:
        x = BLOCKS[block](w, x, function)
    write, rank = HEADS[head]
    write(w, x, activation)
    body = "\n".join(w.lines)
    text = f"(float[1,3,9,17] x) => (float[{','.join('nchw'[:rank])}] y) {{ {body} }}"
    words = set(re.findall(r"\w+", body))
    model = build_model(text, **{name: a for name, a in w.arrays.items() if name in words})
    return model, w.rng.normal(0, 1, (2, 1, 3, 9, 17)).astype(np.float32)


def plans(blocks=tuple(BLOCKS)):
    """Strategy: one to four blocks. Networks are built by the test: no part of the drawing."""
    functions = st.sampled_from(list(ACTIVATIONS))
    return st.builds(
        Plan,
        st.integers(0, 2**32),
        st.lists(st.tuples(st.sampled_from(blocks), functions), min_size=1, max_size=4),
        st.tuples(st.sampled_from(list(HEADS)), functions),
    )
