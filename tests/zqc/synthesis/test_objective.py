"""One step of the synthesis, as a graph, is what PyTorch computes on the net with BatchNorm."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.passes.helpers import build_model
from tests.zqc.synthesis import pytorch_twin as twin
from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.runtime import session
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.synthesis.augmentation import central_places, places
from zqc.synthesis.objective import MOMENTS, Objective, measure_model, step_model

BATCH = (3, 3, 10, 12)
SIZE = BATCH[2:]
OPSETS = (13, 17, 18, 21)
SET = 7
"""Pictures of the whole set; what the other four contribute is made up."""
UNIT_RANGE = InputFormat()
IMAGENET = InputFormat.from_mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FORMATS = [UNIT_RANGE, InputFormat.from_range(-1, 1), InputFormat.from_range(0, 255), IMAGENET]
PLAIN = Objective(smooth=False)
SMOOTH = Objective()
OFFSETS = np.array([[0, 3], [2, 0], [3, 1]])
MIRRORED = np.array([True, False, True])


@pytest.fixture
def arrays(rng):
    """The net's parameters."""
    return twin.net_parameters(rng)


def one_step(
    model,
    layers,
    canvas,
    where=None,
    *,
    shape=None,
    pictures=None,
    others=None,
    input_format=UNIT_RANGE,
    objective=PLAIN,
    rate=0.1,
):
    """Run the first step of Adam, of that rate, on a whole set unless others are given."""
    shape = shape or canvas.shape
    count = sum(len(layer.mean) for layer in layers)
    step = step_model(
        model,
        layers,
        shape=shape,
        pictures=pictures or shape[0],
        input_format=input_format,
        objective=objective,
    )
    others = np.zeros((2, count)) if others is None else others
    return session.load(step, threads=1)(
        {
            "pictures": canvas,
            "first_moment": np.zeros_like(canvas),
            "second_moment": np.zeros((len(canvas), 1, 1, 1), np.float32),
            **{f"other_{name}": v.astype("f") for name, v in zip(MOMENTS, others, strict=True)},
            **(where or central_places(shape[0], shape[2:], objective.margin)),
            "step_size": np.array(rate / (1 - 0.9), np.float32),
            "second_correction": np.array(1 / (1 - 0.999), np.float32),
            "floor": np.array(1e-8, np.float32),
        }
    )


def slope_of(result, pictures, shape=BATCH):
    """The gradient of the pixels: the first decayed sum, without the scale of the slopes."""
    return result["new_first_moment"] / (pictures * np.prod(shape[1:]))


def assert_step_is_that_of_pytorch(
    rng, arrays, *, chosen=twin.LAYERS, opset=18, input_format=UNIT_RANGE, objective=PLAIN, low=0.0
):
    """Compare loss, moments and gradient of a batch in a set, all of them to 1e-4 (relative)."""
    model = build_model(twin.NET, opset=opset, **arrays)
    layers = [layer for layer in harvest(model) if layer.output in chosen]
    assert [layer.output for layer in layers] == list(chosen)
    canvas = rng.uniform(low, 1 - low, objective.canvas(BATCH)).astype(np.float32)
    count = sum(len(layer.mean) for layer in layers)
    first = rng.normal(0, 0.5, count)
    others = np.stack([first, first**2 + rng.uniform(0.1, 1, count)])
    offsets = OFFSETS if objective.margin else 0 * OFFSETS
    where = places(offsets, MIRRORED, SIZE, objective.margin)
    options = {"input_format": input_format, "objective": objective}
    got = one_step(
        model, layers, canvas, where, shape=BATCH, pictures=SET, others=others, **options
    )

    p = twin.as_torch(arrays)
    x = torch.tensor(canvas, dtype=torch.float64, requires_grad=True)
    seen = twin.to_input(
        x, offsets, MIRRORED, SIZE, input_format, smooth=objective.smooth, channels=3
    )
    values = twin.net_values(seen, p)
    known = {
        name: (values[name], *twin.stored(p, i, twin.EPSILONS[name]))
        for i, name in enumerate(twin.LAYERS)
    }
    others = torch.tensor(others.astype("f"), dtype=torch.float64)
    loss = twin.statistics_loss(
        [known[name] for name in chosen],
        others,
        SET,
        terms=objective.terms,
        ratio=objective.deviation_weight,
    )
    if objective.stretch:
        held = [known[name] for name in twin.RAW.values()] if objective.held else []
        raw = [values[name] for name in twin.RAW]
        loss = loss + objective.stretch * twin.stretch_loss(raw, held, SET)
    loss = loss + objective.total_variation * twin.variation_loss(x, SET)
    loss.backward()

    assert got["loss"].shape == ()
    assert got["loss"] == pytest.approx(loss.item(), rel=1e-4)
    slope = x.grad.numpy()
    assert np.abs(slope_of(got, SET) - slope).max() <= 1e-4 * np.abs(slope).max()
    positions = [known[name][0].detach().numpy() for name in chosen]
    for name, power in zip(MOMENTS, (1, 2), strict=True):
        own = np.concatenate([(v**power).mean((0, 2, 3)) * BATCH[0] / SET for v in positions])
        np.testing.assert_allclose(got[name], own, rtol=1e-4, atol=1e-5)
    # Adam's first step has the length of the rate, as root mean square over a picture.
    length = np.sqrt((slope**2).mean((1, 2, 3), keepdims=True))
    expected = np.clip(canvas - 0.1 * slope / length, 0, 1)
    np.testing.assert_allclose(got["new_pictures"], expected, atol=1e-4)
    squares = (SET * np.prod(BATCH[1:]) * length) ** 2
    np.testing.assert_allclose(got["new_second_moment"], squares, rtol=1e-3)


@pytest.mark.parametrize(
    ("chosen", "opset"),
    [
        *(((name,), opset) for name, opset in zip(twin.LAYERS, OPSETS, strict=True)),
        *((twin.LAYERS, opset) for opset in OPSETS),
    ],
)
def test_loss_and_gradient_are_those_of_pytorch(rng, arrays, chosen, opset):
    """Folded and differentiated by us, or unfolded and by autograd: equal to 1e-4 (relative).

    For a BatchNorm on the input, after Conv, after ConvTranspose, after Add, and for all of them,
    with what the rest of the set contributes as constants.
    """
    assert_step_is_that_of_pytorch(
        rng, arrays, chosen=chosen, opset=opset, input_format=IMAGENET, objective=Objective()
    )


@pytest.mark.parametrize("input_format", FORMATS[1:3], ids=str)
def test_every_input_format_is_differentiated(rng, arrays, input_format):
    """The slope of a pixel counts by how far the input moves with it."""
    assert_step_is_that_of_pytorch(rng, arrays, input_format=input_format)


@pytest.mark.parametrize(
    "objective",
    [
        PLAIN,
        Objective(smooth=False, margin=3),
        Objective(margin=3),
        Objective(terms="mean"),
        Objective(terms="std"),
        Objective(deviation_weight=10.0),
        Objective(terms="std", deviation_weight=0.1),
        Objective(stretch=0.3),
        Objective(stretch=0.3, held=True, margin=3),
        Objective(total_variation=2.0),
        Objective(total_variation=2.0, margin=3, smooth=False),
        Objective(tie_channels=True),
        Objective(
            deviation_weight=10.0, stretch=0.05, total_variation=0.1, margin=3, tie_channels=True
        ),
    ],
    ids=repr,
)
def test_every_option_is_differentiated(rng, arrays, objective):
    """Windows, smoothing, terms, weights, stretching, variation and tied channels, one by one."""
    assert_step_is_that_of_pytorch(rng, arrays, objective=objective, input_format=IMAGENET)


@pytest.mark.parametrize("opset", [13, 21])
def test_stretching_works_at_every_opset(rng, arrays, opset):
    """ReduceMin and ReduceMax, which take their axes differently from 18 on."""
    objective = Objective(stretch=0.3, held=True)
    assert_step_is_that_of_pytorch(rng, arrays, opset=opset, objective=objective)


def test_the_clip_lets_the_slope_through(rng, arrays):
    """Canvases from −0.5 to 1.5: the model sees clipped pixels, all of which still get a slope."""
    assert_step_is_that_of_pytorch(rng, arrays, low=-0.5, objective=Objective(margin=3))


def test_a_longer_range_of_the_outputs_is_a_lower_loss(rng, arrays):
    """The term of stretching has the sign that it should have."""
    model = build_model(twin.NET, opset=17, **arrays)
    canvas = rng.uniform(0, 1, BATCH).astype(np.float32)
    plain = one_step(model, harvest(model), canvas)["loss"]
    x = torch.tensor(canvas, dtype=torch.float64)
    values = twin.net_values(x, twin.as_torch(arrays))
    ranges = sum(np.ptp(values[name].numpy(), axis=(1, 2, 3)).mean() for name in twin.RAW)
    stretched = one_step(
        model, harvest(model), canvas, objective=Objective(smooth=False, stretch=2)
    )
    assert float(plain - stretched["loss"]) == pytest.approx(2 * ranges, rel=1e-4)


def test_unknown_terms_are_refused():
    """A misspelt term is named together with those that there are."""
    with pytest.raises(OptionError, match="'deviation'; known: both, mean, std"):
        Objective(terms="deviation")


def test_the_model_is_left_as_it_was(arrays):
    """Building both graphs changes nothing in the model, which is folded and quantized later."""
    model = build_model(twin.NET, opset=17, **arrays)

    def snapshot():
        return (
            [(node.name, node.op_type, [v.name for v in node.inputs]) for node in model.graph],
            {name: value.const_value.numpy().tobytes() for name, value in initializers.items()},
            [(value.name, value.shape) for value in (*model.graph.inputs, *model.graph.outputs)],
        )

    initializers = model.graph.initializers
    before = snapshot()
    for build in (step_model, measure_model):
        build(
            model,
            harvest(model),
            shape=BATCH,
            pictures=SET,
            input_format=UNIT_RANGE,
            objective=Objective(stretch=1.0, held=True, margin=3),
        )
    assert snapshot() == before


@pytest.mark.parametrize("marked", [(0, 1), (1, 0), (1, 1)])
def test_flips_mirror_the_marked_pictures(rng, arrays, marked):
    """Marking a picture is the same as mirroring it beforehand, and the slope comes mirrored."""
    model = build_model(twin.NET, opset=17, **arrays)
    layers = harvest(model)
    pictures = rng.uniform(0, 1, (2, *BATCH[1:])).astype(np.float32)
    mirrored = np.stack([p[:, :, ::-1] if m else p for p, m in zip(pictures, marked, strict=True)])
    where = places(np.zeros((2, 2), int), np.array(marked, bool), SIZE, 0)
    got = one_step(model, layers, pictures, where, objective=Objective())
    expected = one_step(model, layers, mirrored, objective=Objective())
    assert got["loss"] == pytest.approx(float(expected["loss"]), rel=1e-6)
    slope, other = got["new_first_moment"], expected["new_first_moment"].copy()
    for index, mark in enumerate(marked):
        if mark:
            other[index] = other[index][:, :, ::-1]
    np.testing.assert_allclose(slope, other, atol=1e-5 * np.abs(other).max())
    straight = one_step(model, layers, pictures, objective=Objective())
    assert abs(float(straight["loss"] - got["loss"])) > 1e-4 * abs(float(got["loss"]))


def meter(model, shape, *, input_format=UNIT_RANGE, objective=SMOOTH, pictures=None):
    """From canvases to finished pictures and what they contribute."""
    built = measure_model(
        model,
        harvest(model),
        shape=shape,
        pictures=pictures or shape[0],
        input_format=input_format,
        objective=objective,
    )
    return session.load(built, threads=1)


def measured(model, canvas, shape, *, objective=SMOOTH, **options):
    """Run it once."""
    where = central_places(shape[0], shape[2:], objective.margin)
    return meter(model, shape, objective=objective, **options)({"pictures": canvas, **where})


@pytest.mark.parametrize(
    ("input_format", "margin"), list(zip(FORMATS, (0, 3, 4, 5), strict=True)), ids=str
)
def test_finished_pictures_are_smoothed_cut_and_in_range(rng, arrays, input_format, margin):
    """Tensors are the middle of PyTorch's smoothed canvases (1e-5), never brighter than white."""
    objective = Objective(margin=margin)
    canvas = rng.choice(np.float32([0, 0.4, 1]), objective.canvas(BATCH))
    canvas[0, :, :8, :8], canvas[1, :, :8, :8] = 0, 1  # their inside must be black and white
    model = build_model(twin.NET, opset=17, **arrays)
    tensors = measured(model, canvas, BATCH, input_format=input_format, objective=objective)[
        "tensors"
    ]
    middle = np.full((3, 2), margin // 2)
    expected = twin.to_input(
        torch.tensor(canvas, dtype=torch.float64), middle, [False] * 3, SIZE, input_format
    )
    low, high = input_format.bounds(3)
    np.testing.assert_allclose(tensors, expected.numpy(), atol=1e-5 * (high - low).max())
    scaled = (tensors - low) / (high - low)
    assert scaled.min() >= -1e-6
    assert scaled.max() <= 1 + 1e-6


def test_tied_channels_are_one_channel(rng, arrays):
    """A canvas has one channel, and each channel of the tensor is that one in its own range."""
    model = build_model(twin.NET, opset=17, **arrays)
    objective = Objective(tie_channels=True)
    assert objective.canvas(BATCH) == (3, 1, 10, 12)
    canvas = rng.uniform(0, 1, (3, 1, 10, 12)).astype(np.float32)
    tensors = measured(model, canvas, BATCH, input_format=IMAGENET, objective=objective)["tensors"]
    low, high = IMAGENET.bounds(3)
    scaled = (tensors - low) / (high - low)
    grey = twin.smoothed(torch.tensor(canvas, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(scaled, np.repeat(grey, 3, axis=1), atol=1e-5)


@pytest.mark.parametrize("sizes", [(6, 6), (5, 4, 3), (1,) * 12])
def test_pooled_moments_do_not_depend_on_the_batches(rng, arrays, sizes):
    """Twelve pictures in batches of any size have the moments that numpy finds in all of them.

    Equal to 1e-5 of the layer's largest to those of one batch, and to those of the unfolded net on
    the finished tensors.
    """
    model = build_model(twin.NET, opset=17, **arrays)
    canvas = rng.uniform(0, 1, (12, *BATCH[1:])).astype(np.float32)
    meters = {size: meter(model, (size, *BATCH[1:]), pictures=12) for size in set(sizes)}
    total, tensors, start = np.zeros((2, 17)), [], 0
    for size in sizes:
        feeds = {
            "pictures": canvas[start : start + size],
            **central_places(size, SIZE, 0),
        }
        got = meters[size](feeds)
        total += [got[name] for name in MOMENTS]
        tensors.append(got["tensors"])
        start += size
    whole = measured(model, canvas, (12, *BATCH[1:]))
    x = torch.tensor(np.concatenate(tensors), dtype=torch.float64)
    values = [v.numpy() for v in twin.net_values(x, twin.as_torch(arrays)).values()][:4]
    for power, pooled in enumerate(total, start=1):
        exact = np.concatenate([(v**power).mean((0, 2, 3)) for v in values])
        for reference in (whole[MOMENTS[power - 1]], exact):
            ends = np.cumsum([0, 3, 4, 6, 4])
            for a, b in zip(ends, ends[1:]):  # noqa: B905, RUF007
                off = np.abs(pooled[a:b] - reference[a:b]).max()
                assert off <= 1e-5 * np.abs(reference[a:b]).max()


def test_a_batch_steps_as_in_the_whole_set(rng, arrays):
    """The slope of a batch, given what the others contribute, is its part of that of the set."""
    model = build_model(twin.NET, opset=17, **arrays)
    layers = harvest(model)
    canvas = rng.uniform(0, 1, (5, *BATCH[1:])).astype(np.float32)
    whole = one_step(model, layers, canvas)
    rest = measured(model, canvas[2:], (3, *BATCH[1:]), objective=PLAIN, pictures=5)
    others = np.stack([rest[name] for name in MOMENTS])
    part = one_step(model, layers, canvas[:2], pictures=5, others=others)
    assert part["loss"] == pytest.approx(float(whole["loss"]), rel=1e-5)
    expected = whole["new_first_moment"][:2]
    found = part["new_first_moment"]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_pixels_are_clipped_after_a_step(rng, arrays):
    """A step far too long ends at black or white."""
    model = build_model(twin.NET, opset=17, **arrays)
    pictures = rng.uniform(0, 1, (2, *BATCH[1:])).astype(np.float32)
    moved = one_step(model, harvest(model), pictures, rate=50.0)["new_pictures"]
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
    arrays |= twin.norm_parameters(rng, 1, 4) | twin.norm_parameters(rng, 2, 4)
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    model = build_model(SHUFFLE, opset=17, split=np.array(split), join=np.array(join), **arrays)
    pictures = rng.uniform(0, 1, (4, 3, 6, 6)).astype(np.float32)
    got = one_step(model, harvest(model), pictures)
    p = twin.as_torch(arrays)
    x = torch.tensor(pictures, dtype=torch.float64)
    first = twin.norm(functional.conv2d(x, p["w1"]), p, 1, 1e-3)
    shuffled = functional.channel_shuffle(first, 2)
    second = twin.norm(functional.conv2d(shuffled, p["w2"], groups=2), p, 2, 1e-3)
    layers = [(v, *twin.stored(p, i, 1e-3)) for i, v in ((1, first), (2, second))]
    expected = twin.statistics_loss(layers, torch.zeros(2, 8), 4)
    assert got["loss"] == pytest.approx(expected.item(), rel=1e-4)


POOLED = """(float[N,3,6,6] x) => (float[a,b] y) {
    c1 = Conv(x, w1)
    c2 = GlobalAveragePool(c1)
    flat = Flatten(c2)
    g = Gemm(flat, w2)
    y = BatchNormalization<epsilon=0.001>(g, g1, b1, m1, v1)
}"""


def test_a_layer_without_positions_is_matched(rng):
    """BatchNorm after Gemm has one value per picture and channel: statistics over the set."""
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(4, 5))}
    arrays |= twin.norm_parameters(rng, 1, 5)
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    model = build_model(POOLED, opset=17, **arrays)
    pictures = rng.uniform(0, 1, (4, 3, 6, 6)).astype(np.float32)
    got = one_step(model, harvest(model), pictures)
    p = twin.as_torch(arrays)
    x = torch.tensor(pictures, dtype=torch.float64, requires_grad=True)
    y = twin.norm(functional.conv2d(x, p["w1"]).mean((2, 3)) @ p["w2"], p, 1, 1e-3)
    expected = twin.statistics_loss([(y, *twin.stored(p, 1, 1e-3))], torch.zeros(2, 5), 4)
    expected.backward()
    assert got["loss"] == pytest.approx(expected.item(), rel=1e-4)
    slope = x.grad.numpy()
    found = slope_of(got, 4, pictures.shape)
    assert np.abs(found - slope).max() <= 1e-4 * np.abs(slope).max()


def test_layers_may_come_in_any_order(rng, arrays):
    """Statistics from elsewhere need not stand in graph order."""
    model = build_model(twin.NET, opset=17, **arrays)
    layers = harvest(model)
    canvas = rng.uniform(0, 1, BATCH).astype(np.float32)
    got, turned = one_step(model, layers, canvas), one_step(model, layers[::-1], canvas)
    assert turned["loss"] == pytest.approx(float(got["loss"]), rel=1e-6)
    np.testing.assert_allclose(
        turned["new_first_moment"],
        got["new_first_moment"],
        atol=1e-5 * np.abs(got["new_first_moment"]).max(),
    )


NAMES = """(float[N,3,6,6] {0}) => (float[a,b,c,d] {6}) {{
    {1} = Conv({0}, {2})
    y = BatchNormalization({1}, g, b, m, v)
    {3} = Relu(y)
    {4} = Conv({3}, {5})
    {6} = Sigmoid({4})
}}"""
USUAL = ("x", "c1", "w1", "r1", "c2", "w2", "z")


@pytest.mark.parametrize(
    "names",
    [
        ("pictures", "first_moment", "starts", "loss", "new_pictures", "gaussian", "means"),
        ("tensors", "pictures", "black", "pads", "new_loss", "white", "seconds"),
        ("steps", "val_3", "pixel_factor", "val_11", "step_size", "val_0", "floor"),
        ("loss", "pictures_gradient", "window_axes", "other_means", "tensors", "two", "half"),
        (
            "second_moment",
            "thirds",
            "zeros_4",
            "ones_4",
            "share_of_set",
            "slope_scale",
            "picture_0",
        ),
        *(
            pytest.param(
                ("x", "c1", "w1", "r1", "z0", f"y_{ending}", "z"),
            )
            for ending in (
                "axes",
                "inverse_unit",
                "picture_axes",
                "picture_mean",
                "picture_std",
                "picture_floor",
                "per_channel",
                "per_picture",
            )
        ),
        pytest.param(
            ("x", "c1", "w1", "r1", "raw", "raw_range_axes", "z"),
        ),
    ],
    ids="-".join,
)
def test_names_of_the_model_do_not_clash(rng, names):
    """Whatever the tensors of a model are called, loss and step are the same to the last bit."""
    arrays = {"g": [1, 2, 1, 1], "b": [0, 1, 0, 0], "m": [1, -1, 0, 0], "v": [1, 3, 1, 1]}
    arrays = {name: np.float32(values) for name, values in arrays.items()}
    first = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    second = rng.normal(size=(2, 4, 1, 1)).astype(np.float32)
    pictures = rng.uniform(0, 1, (2, 3, 6, 6)).astype(np.float32)
    objective = Objective(stretch=0.5, held=True, total_variation=0.1)
    results = []
    for a, b, w1, c, d, w2, z in (names, USUAL):
        text = NAMES.format(a, b, w1, c, d, w2, z)
        model = build_model(text, opset=18, **{w1: first, w2: second}, **arrays)
        results.append(one_step(model, harvest(model), pictures, objective=objective))
    assert results[0]["loss"] == results[1]["loss"]
    assert results[0]["new_pictures"].tobytes() == results[1]["new_pictures"].tobytes()


FOLDED_AWAY = {
    "a raw output with BatchNorm behind it": """(float[N,3,6,6] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        n1 = BatchNormalization(c1, g1, b1, m1, v1)
        c2 = Conv(n1, w2)
        y = BatchNormalization(c2, g2, b2, m2, v2)
    }""",
    "a raw output with its bias behind it": """(float[N,3,6,6] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        n1 = BatchNormalization(c1, g1, b1, m1, v1)
        c2 = Conv(n1, w2)
        y = Add(c2, bias)
    }""",
    "BatchNorm behind BatchNorm": """(float[N,3,6,6] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        n1 = BatchNormalization(c1, g1, b1, m1, v1)
        n2 = BatchNormalization(n1, g2, b2, m2, v2)
        y = Conv(n2, w2)
    }""",
}


@pytest.mark.parametrize("text", FOLDED_AWAY.values(), ids=FOLDED_AWAY)
def test_what_could_be_folded_away_is_kept(rng, text):
    """A value that is wanted is there although a pass could merge it into its neighbour."""
    arrays = {"w1": rng.normal(size=(4, 3, 1, 1)), "w2": rng.normal(size=(4, 4, 1, 1))}
    arrays |= twin.norm_parameters(rng, 1, 4) | twin.norm_parameters(rng, 2, 4)
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    if "bias" in text:
        arrays["bias"] = rng.normal(size=(1, 4, 1, 1)).astype(np.float32)
    model = build_model(text, opset=17, **arrays)
    pictures = rng.uniform(0, 1, (2, 3, 6, 6)).astype(np.float32)
    got = one_step(model, harvest(model), pictures, objective=Objective(stretch=0.1, held=True))
    assert np.isfinite(got["loss"])


def test_statistics_may_be_of_a_conv_that_arithmetic_follows(rng):
    """A card names outputs of Convs: those to whose bias an Add could be folded, too."""
    text = """(float[N,3,6,6] x) => (float[a,b,c,d] y) {
        c1 = Conv(x, w1)
        moved = Add(c1, bias)
        y = Relu(moved)
    }"""
    weight = rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    bias = rng.normal(size=(1, 4, 1, 1)).astype(np.float32)
    model = build_model(text, opset=17, w1=weight, bias=bias)
    pictures = rng.uniform(0, 1, (2, 3, 6, 6)).astype(np.float32)
    layer = LayerStatistics("c1", np.zeros(4), np.ones(4))
    got = one_step(model, [layer], pictures)
    values = np.einsum("oi,nihw->nohw", weight[:, :, 0, 0].astype(float), pictures)
    off = (values.mean((0, 2, 3)) / layer.unit) ** 2
    off += ((values.std((0, 2, 3)) - 1) / layer.unit) ** 2
    assert got["loss"] == pytest.approx(off.mean(), rel=1e-4)
