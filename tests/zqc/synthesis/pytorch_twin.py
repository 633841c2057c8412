"""A net in ONNX and in PyTorch, and the loss of the synthesis in PyTorch, all in float64.

In PyTorch BatchNorm is not folded, gradients are those of autograd, and windows are slices.
"""

import numpy as np
import torch
from torch.nn import functional

NET = """(float[N,3,10,12] x) => (float[a,b,c,d] boxes, float[e,f,g,h] scores) {
    on_input = BatchNormalization(x, g0, b0, m0, v0)
    c1 = Conv<pads=[1,1,1,1], strides=[2,1]>(on_input, w1)
    after_conv = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
    gate = Sigmoid(after_conv)
    swish = Mul(after_conv, gate)
    c2 = ConvTranspose<strides=[2,2], group=2>(swish, w2, bias2)
    after_transpose = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
    leaky = LeakyRelu<alpha=0.1>(after_transpose)
    left = Conv(leaky, w3, bias3)
    right = Conv<dilations=[2,2], pads=[2,2,2,2], group=2>(leaky, w4)
    sum = Add(left, right)
    after_add = BatchNormalization<epsilon=0.001>(sum, g3, b3, m3, v3)
    active = Relu(after_add)
    raw_boxes = Conv(active, w5, bias5)
    boxes = Exp(raw_boxes)
    raw_scores = Conv<pads=[1,1,1,1]>(leaky, w6)
    scores = Sigmoid(raw_scores)
}"""
LAYERS = ("on_input", "after_conv", "after_transpose", "after_add")
RAW = {"raw_boxes": "after_add", "raw_scores": "after_transpose"}
"""The raw outputs and the layer next before each of them."""
EPSILONS = dict(zip(LAYERS, (1e-5, 1e-3, 1e-3, 1e-3), strict=True))
SHAPES = {
    "w1": (4, 3, 3, 3),
    "w2": (4, 3, 2, 2),
    "bias2": (6,),
    "w3": (4, 6, 1, 1),
    "bias3": (4,),
    "w4": (4, 3, 3, 3),
    "w5": (2, 4, 1, 1),
    "bias5": (2,),
    "w6": (3, 6, 3, 3),
}


def norm_parameters(rng, index, count):
    """What training might have left in a BatchNormalization."""
    return {
        f"g{index}": rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count),
        f"b{index}": rng.normal(size=count),
        f"m{index}": rng.normal(size=count),
        f"v{index}": rng.uniform(0.3, 2, count),
    }


def net_parameters(rng):
    """All parameters of the net."""
    found = {name: rng.normal(0, 0.5, shape) for name, shape in SHAPES.items()}
    for index, count in enumerate((3, 4, 6, 4)):
        found |= norm_parameters(rng, index, count)
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def as_torch(arrays):
    """The same numbers in float64."""
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in arrays.items()}


def norm(x, p, index, epsilon):
    """BatchNorm in inference."""
    return functional.batch_norm(
        x, *(p[f"{kind}{index}"] for kind in "mvgb"), training=False, eps=epsilon
    )


def net_values(x, p):
    """The output of every BatchNorm of the net and its raw outputs, by name."""
    on_input = norm(x, p, 0, 1e-5)
    after_conv = norm(functional.conv2d(on_input, p["w1"], None, (2, 1), 1), p, 1, 1e-3)
    swish = functional.silu(after_conv)
    up = functional.conv_transpose2d(swish, p["w2"], p["bias2"], 2, groups=2)
    after_transpose = norm(up, p, 2, 1e-3)
    leaky = functional.leaky_relu(after_transpose, 0.1)
    right = functional.conv2d(leaky, p["w4"], None, 1, 2, 2, groups=2)
    added = functional.conv2d(leaky, p["w3"], p["bias3"]) + right
    after_add = norm(added, p, 3, 1e-3)
    return {
        "on_input": on_input,
        "after_conv": after_conv,
        "after_transpose": after_transpose,
        "after_add": after_add,
        "raw_boxes": functional.conv2d(functional.relu(after_add), p["w5"], p["bias5"]),
        "raw_scores": functional.conv2d(leaky, p["w6"], None, 1, 1),
    }


def stored(p, index, epsilon):
    """Mean, deviation and unit of a BatchNorm's output: β, |γ|·σ/√(σ² + ε), and the unit."""
    deviation = p[f"g{index}"].abs() * (p[f"v{index}"] / (p[f"v{index}"] + epsilon)).sqrt()
    return p[f"b{index}"], deviation, (deviation**2 + 0.01 * (deviation**2).mean()).sqrt()


def smoothed(pictures):
    """3×3 Gaussian of σ = 1.25, divided by the weight of the pixels that exist."""
    offsets = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    kernel = torch.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.25**2))
    flat = pictures.reshape(-1, 1, *pictures.shape[2:])
    total = functional.conv2d(flat, kernel[None, None], padding=1)
    share = functional.conv2d(torch.ones_like(flat), kernel[None, None], padding=1)
    return (total / share).reshape(pictures.shape)


def windows(canvas, offsets, mirrored, size):
    """Slices of the canvases, mirrored where it says so."""
    height, width = size
    parts = []
    for picture, (top, left), turned in zip(canvas, offsets, mirrored, strict=True):
        part = picture[:, top : top + height, left : left + width]
        parts.append(part.flip(2) if turned else part)
    return torch.stack(parts)


def to_input(canvas, offsets, mirrored, size, input_format, *, smooth=True, channels=3):
    """From canvases to the model's input; the clip lets the gradient through."""
    seen = windows(smoothed(canvas) if smooth else canvas, offsets, mirrored, size)
    seen = seen + (seen.clamp(0, 1) - seen).detach()
    low, high = (torch.tensor(end, dtype=torch.float64) for end in input_format.bounds(channels))
    return low + seen.expand(-1, channels, -1, -1) * (high - low)


def statistics_loss(layers, others, pictures, *, terms="both", ratio=1.0):
    """The mean over the layers of what pooled means and deviations lack, in the channels' units.

    ``layers`` has (values, mean, deviation, unit) of each; ``others`` the pair (Σ E[x], Σ E[x²])
    that the rest of the set contributes, all channels in a row.
    """
    losses, start = [], 0
    for values, mean, deviation, unit in layers:
        place = slice(start, start + len(mean))
        start += len(mean)
        axes = [0, *range(2, values.ndim)]
        count = values[0, 0].numel() * pictures
        first = values.sum(axes) / count + others[0][place]
        second = (values**2).sum(axes) / count + others[1][place]
        spread = torch.maximum(second - first**2, 1e-6 * unit**2).sqrt()
        off_mean, off_spread = ((first - mean) / unit) ** 2, ((spread - deviation) / unit) ** 2
        losses.append((off_mean * (terms != "std") + ratio * off_spread * (terms != "mean")).mean())
    return torch.stack(losses).mean()


def stretch_loss(raw, held, pictures):
    """−range of every raw output, picture by picture, and what holds it back; mean over the set.

    ``held`` has (values, mean, deviation, unit) of the layers before them.
    """
    total = torch.zeros((), dtype=torch.float64)
    for values in raw:
        flat = values.flatten(1)
        total = total - (flat.amax(1) - flat.amin(1)).sum()
    for values, mean, deviation, unit in held:
        got, spread = values.mean((2, 3)), values.std((2, 3), correction=0)
        for off in (got - mean, spread - deviation):
            total = total + functional.relu(((off / unit) ** 2).mean(1) - 0.5).sum()
    return total / pictures


def variation_loss(canvas, pictures):
    """Squared differences of neighbouring pixels, per pixel, mean over the set."""
    steps = (canvas.diff(dim=2) ** 2).sum() + (canvas.diff(dim=3) ** 2).sum()
    return steps / canvas[0, 0].numel() / pictures
