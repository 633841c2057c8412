"""One step of the synthesis, as a graph, is what PyTorch computes on the net with BatchNorm."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.passes.helpers import build_model
from zqc import runtime
from zqc.input_format import InputFormat
from zqc.synthesis import harvest
from zqc.synthesis.objective import finish_model, step_model

NET = """(float[N,3,10,12] x) => (float[a,b,c,d] y) {
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
    y = Relu(after_add)
}"""
LAYERS = ("on_input", "after_conv", "after_transpose", "after_add")
SHAPES = {
    "w1": (4, 3, 3, 3),
    "w2": (4, 3, 2, 2),
    "bias2": (6,),
    "w3": (4, 6, 1, 1),
    "bias3": (4,),
    "w4": (4, 3, 3, 3),
}
BATCH = (3, 3, 10, 12)
UNIT_RANGE = InputFormat()
IMAGENET = InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FORMATS = [UNIT_RANGE, InputFormat.from_range(-1, 1), IMAGENET]
FLIPS = np.float32([1, 0, 1]).reshape(3, 1, 1, 1)


def norm_parameters(rng, index, count):
    """What training might have left in a BatchNormalization."""
    return {
        f"g{index}": rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count),
        f"b{index}": rng.normal(size=count),
        f"m{index}": rng.normal(size=count),
        f"v{index}": rng.uniform(0.3, 2, count),
    }


@pytest.fixture
def arrays(rng):
    """The net's parameters."""
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


def norm_outputs(x, p):
    """The output of every BatchNorm of the net, by name."""
    on_input = norm(x, p, 0, 1e-5)
    after_conv = norm(functional.conv2d(on_input, p["w1"], None, (2, 1), 1), p, 1, 1e-3)
    swish = functional.silu(after_conv)
    up = functional.conv_transpose2d(swish, p["w2"], p["bias2"], 2, groups=2)
    after_transpose = norm(up, p, 2, 1e-3)
    leaky = functional.leaky_relu(after_transpose, 0.1)
    right = functional.conv2d(leaky, p["w4"], None, 1, 2, 2, groups=2)
    added = functional.conv2d(leaky, p["w3"], p["bias3"]) + right
    return dict(
        zip(LAYERS, (on_input, after_conv, after_transpose, norm(added, p, 3, 1e-3)), strict=True)
    )


def smoothed(pictures):
    """3×3 Gaussian of σ = 1.25, divided by the weight of the pixels that exist."""
    offsets = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)
    kernel = torch.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.25**2))
    flat = pictures.reshape(-1, 1, *pictures.shape[2:])
    total = functional.conv2d(flat, kernel[None, None], padding=1)
    share = functional.conv2d(torch.ones_like(flat), kernel[None, None], padding=1)
    return (total / share).reshape(pictures.shape)


def to_input(pictures, flips, input_format):
    """Flip, smooth and map [0, 1] to the model's input."""
    flipped = torch.where(torch.tensor(flips, dtype=torch.bool), pictures.flip(3), pictures)
    low, high = (torch.tensor(end, dtype=torch.float64) for end in input_format.bounds(3))
    return low + smoothed(flipped) * (high - low)


def loss_of(outputs, p, epsilons):
    """The mean over layers of what means and deviations lack, in the channels' units."""
    terms = []
    for index, epsilon in epsilons.items():
        y = outputs[LAYERS[index]]
        goal = p[f"g{index}"].abs() * (p[f"v{index}"] / (p[f"v{index}"] + epsilon)).sqrt()
        unit = (goal**2 + 0.01 * (goal**2).mean()).sqrt()
        mean, deviation = y.mean((0, 2, 3)), y.std((0, 2, 3), correction=0)
        residuals = ((mean - p[f"b{index}"]) / unit) ** 2 + ((deviation - goal) / unit) ** 2
        terms.append(residuals.mean())
    return torch.stack(terms).mean()


def one_step(model, layers, pictures, flips=FLIPS, *, input_format=UNIT_RANGE, rate=0.1):
    """Run the first step of Adam, of that rate."""
    step = step_model(model, layers, shape=pictures.shape, input_format=input_format)
    return runtime.load(step, threads=1)(
        {
            "pictures": pictures,
            "first_moment": np.zeros_like(pictures),
            "second_moment": np.zeros_like(pictures),
            "flips": np.asarray(flips, np.float32).reshape(-1, 1, 1, 1),
            "step_size": np.array(rate / (1 - 0.9), np.float32),
            "second_correction": np.array(1 / (1 - 0.999), np.float32),
        }
    )


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("wanted", [*range(4), "all"])
def test_loss_and_gradient_are_those_of_pytorch(rng, arrays, wanted, opset):
    """Folded and differentiated by us, or unfolded and by autograd: equal to 1e-4 (relative).

    For a BatchNorm on the input, after Conv, after ConvTranspose, after Add, and for all of them.
    """
    chosen = range(4) if wanted == "all" else [wanted]
    model = build_model(NET, opset=opset, **arrays)
    layers = [layer for index, layer in enumerate(harvest(model)) if index in chosen]
    assert [layer.output for layer in layers] == [LAYERS[index] for index in chosen]
    pictures = rng.uniform(0, 1, BATCH).astype(np.float32)
    got = one_step(model, layers, pictures, input_format=IMAGENET)

    p = as_torch(arrays)
    x = torch.tensor(pictures, dtype=torch.float64, requires_grad=True)
    epsilons = {index: 1e-3 if index else 1e-5 for index in chosen}
    loss = loss_of(norm_outputs(to_input(x, FLIPS, IMAGENET), p), p, epsilons)
    loss.backward()
    assert got["loss"] == pytest.approx(loss.item(), rel=1e-4)
    slope = x.grad.numpy()
    found = got["new_first_moment"] / 0.1
    assert np.abs(found - slope).max() <= 1e-4 * np.abs(slope).max()
    # The first step of Adam has the length of the rate wherever there is a slope.
    clear = np.abs(slope) > 1e-3 * np.abs(slope).max()
    expected = np.clip(pictures - 0.1 * np.sign(slope), 0, 1)
    np.testing.assert_allclose(got["new_pictures"][clear], expected[clear], atol=1e-3)


def test_the_model_is_left_as_it_was(arrays):
    """Building the step changes nothing in the model, which is folded and quantized later."""
    model = build_model(NET, opset=17, **arrays)
    before = [(node.name, node.op_type) for node in model.graph]
    names = set(model.graph.initializers)
    step_model(model, harvest(model), shape=BATCH, input_format=UNIT_RANGE)
    assert [(node.name, node.op_type) for node in model.graph] == before
    assert set(model.graph.initializers) == names
    assert [value.name for value in model.graph.outputs] == ["y"]


@pytest.mark.parametrize("marked", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_flips_mirror_the_marked_pictures(rng, arrays, marked):
    """Marking a picture is the same as mirroring it beforehand, and the slope comes mirrored."""
    model = build_model(NET, opset=17, **arrays)
    layers = harvest(model)
    pictures = rng.uniform(0, 1, (2, *BATCH[1:])).astype(np.float32)
    mirrored = np.stack([p[:, :, ::-1] if m else p for p, m in zip(pictures, marked, strict=True)])
    got = one_step(model, layers, pictures, marked)
    expected = one_step(model, layers, mirrored, (0, 0))
    assert got["loss"] == pytest.approx(float(expected["loss"]), rel=1e-6)
    slope, other = got["new_first_moment"], expected["new_first_moment"].copy()
    for index, mark in enumerate(marked):
        if mark:
            other[index] = other[index][:, :, ::-1]
    np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())
    unmarked = one_step(model, layers, mirrored, marked)
    if marked[0] != marked[1]:
        assert abs(float(unmarked["loss"] - got["loss"])) > 1e-4 * abs(float(got["loss"]))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("input_format", FORMATS)
def test_constant_pictures_stay_constant(level, input_format):
    """Smoothing keeps the brightness up to the last pixel of the border (1e-6 of the range)."""
    pictures = np.full((2, 3, 5, 7), level, np.float32)
    low, high = input_format.bounds(3)
    finish = runtime.load(finish_model(pictures.shape, input_format), threads=1)
    tensors = finish({"pictures": pictures})["tensors"]
    np.testing.assert_allclose((tensors - low) / (high - low), pictures, atol=1e-6)


@pytest.mark.parametrize("input_format", FORMATS)
def test_finished_pictures_are_smoothed_and_in_range(rng, input_format):
    """Tensors are PyTorch's smoothed pictures (1e-5), and never brighter than white."""
    pictures = rng.choice(np.float32([0, 0.4, 1]), (2, 3, 6, 9))
    pictures[0, :, :4, :4], pictures[1, :, :4, :4] = 0, 1  # their inside must be black and white
    finish = runtime.load(finish_model(pictures.shape, input_format), threads=1)
    tensors = finish({"pictures": pictures})["tensors"]
    expected = to_input(torch.tensor(pictures, dtype=torch.float64), np.zeros(1), input_format)
    np.testing.assert_allclose(tensors, expected.numpy(), atol=1e-5)
    low, high = input_format.bounds(3)
    scaled = (tensors - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6


def test_pixels_are_clipped_after_a_step(rng, arrays):
    """A step far too long ends at black or white."""
    model = build_model(NET, opset=17, **arrays)
    pictures = rng.uniform(0, 1, (2, *BATCH[1:])).astype(np.float32)
    moved = one_step(model, harvest(model), pictures, (0, 1), rate=50.0)["new_pictures"]
    assert moved.min() == 0
    assert moved.max() == 1
    assert np.mean((moved == 0) | (moved == 1)) > 0.99


SHUFFLE = """(float[1,3,6,6] x) => (float[1,4,6,6] y) {
    c1 = Conv(x, w1)
    n1 = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
    groups = Reshape(n1, split)
    turned = Transpose<perm=[0,2,1,3,4]>(groups)
    joined = Reshape(turned, join)
    c2 = Conv<group=2>(joined, w2)
    y = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
}"""


@pytest.mark.parametrize(
    ("split", "join"), [((1, 2, 2, 6, 6), (1, 4, 6, 6)), ((1, 2, 2, 6, 6), (1, -1, 6, 6))]
)
def test_a_fixed_batch_of_one_gives_way(rng, split, join):
    """A model exported for one picture, with Reshapes that say so, works on four."""
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(4, 2, 1, 1))}
    arrays |= norm_parameters(rng, 1, 4) | norm_parameters(rng, 2, 4)
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    model = build_model(SHUFFLE, opset=17, split=np.array(split), join=np.array(join), **arrays)
    pictures = rng.uniform(0, 1, (4, 3, 6, 6)).astype(np.float32)
    got = one_step(model, harvest(model), pictures, np.zeros(4))
    p = as_torch(arrays)
    x = to_input(torch.tensor(pictures, dtype=torch.float64), np.zeros(1), UNIT_RANGE)
    first = norm(functional.conv2d(x, p["w1"]), p, 1, 1e-3)
    shuffled = functional.channel_shuffle(first, 2)
    second = norm(functional.conv2d(shuffled, p["w2"], groups=2), p, 2, 1e-3)
    expected = loss_of({"after_conv": first, "after_transpose": second}, p, {1: 1e-3, 2: 1e-3})
    assert got["loss"] == pytest.approx(expected.item(), rel=1e-4)


NAMES = """(float[N,3,6,6] {0}) => (float[a,b,c,d] y) {{
    {1} = Conv({0}, {2})
    {3} = Relu({1})
    {4} = Conv({3}, {5})
    y = BatchNormalization({4}, g, b, m, v)
}}"""


@pytest.mark.parametrize(
    "names",
    [
        ("pictures", "first_moment", "mirror", "loss", "new_pictures", "gaussian"),
        ("tensors", "pictures", "pixel_min", "flips", "new_loss", "per_layer"),
        ("flips", "val_3", "pixel_factor", "val_11", "step_size", "y_mean"),
        ("loss", "pictures_gradient", "y_floor", "y_axes", "tensors", "y_deviation_unit"),
    ],
)
def test_names_of_the_model_do_not_clash(rng, names):
    """Whatever the tensors of a model are called, the loss is the same."""
    arrays = {"g": [1, 2], "b": [0, 1], "m": [1, -1], "v": [1, 3]}
    arrays = {name: np.float32(values) for name, values in arrays.items()}
    first = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    second = rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    pictures = rng.uniform(0, 1, (2, 3, 6, 6)).astype(np.float32)
    losses = []
    for a, b, w1, c, d, w2 in (names, ("x", "c1", "w1", "r1", "c2", "w2")):
        text = NAMES.format(a, b, w1, c, d, w2)
        model = build_model(text, opset=18, **{w1: first, w2: second}, **arrays)
        losses.append(one_step(model, harvest(model), pictures, (0, 1))["loss"])
    assert losses[0] == losses[1]
