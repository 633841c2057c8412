"""The input convention is found from the statistics, and asked for where it cannot be."""

import click
import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.tape import Tape

from passes.graph import add_initializer, constant
from tests.conftest import ROOT
from tests.zqc.statistics.small_nets import untrained
from zqc.cli import options
from zqc.errors import OptionError
from zqc.model_io import model_file
from zqc.pictures.dead_leaves import dead_leaves
from zqc.pictures.input_format import InputFormat
from zqc.statistics import input_convention
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.statistics.input_convention import CONVENTIONS, detect_input_format

IMAGENET = "ImageNet mean and standard deviation"
PICTURE = (3, 128, 128)
BY_NAME = {c.name: c for c in CONVENTIONS}


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """The pictures depend on nothing but their shape: draw them once for all tests."""
    drawn = {}

    def cached(count, picture, *, blurs):
        if (count, picture) not in drawn:
            drawn[count, picture] = dead_leaves(count, picture, blurs=blurs)
        return drawn[count, picture]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_convention, "dead_leaves", cached)
        yield


@pytest.fixture(scope="module")
def loaded():
    """The example detector, which was trained on RGB pixels in 0…1."""
    path = ROOT / "examples" / "detector.onnx"
    if not path.is_file():
        pytest.skip("the example is not here")
    return model_file.load(path).model


@pytest.fixture
def example(loaded):
    """A copy to change."""
    return loaded.clone()


def stem(model):
    """The first Conv and the BatchNormalization behind it."""
    conv = next(node for node in model.graph if node.op_type == "Conv")
    (norm,) = (use.node for use in conv.outputs[0].uses())
    assert norm.op_type == "BatchNormalization"
    return conv, norm


def set_constant(value, array):
    """Give an initializer another array."""
    value.const_value = ir.tensor(np.ascontiguousarray(array, np.float32), name=value.name)
    value.shape = ir.Shape(array.shape)


def expect(model, wanted):
    """Change the first layer so that it does to ``wanted`` input what it did to 0…1 in RGB.

    With x = (z − low)/(high − low) for pixel values x, input values z and weights w, w*x is
    (w/(high − low))*z − Σ w·low/(high − low); the constant goes into the mean behind.
    """
    conv, norm = stem(model)
    weight = constant(conv.inputs[1]).astype(np.float64)
    mean = constant(norm.inputs[3]).astype(np.float64)
    if wanted.bgr:
        weight = weight[:, ::-1]
    low, high = (end.astype(np.float64) for end in wanted.bounds(weight.shape[1]))
    scaled = weight / (high - low)
    set_constant(conv.inputs[1], scaled)
    set_constant(norm.inputs[3], mean + (scaled * low).sum((1, 2, 3)))


def detected(model, picture=PICTURE, **more):
    """Detect on one thread."""
    return detect_input_format(model, harvest(model), picture, threads=1, **more)


def test_the_example(example):
    """0:1 and RGB, with a good score and the next range more than five times as far."""
    found = detected(example)
    assert (found.name, found.flags, found.format) == ("0:1", "--input-range=0:1", InputFormat())
    assert found.certain
    assert found.order_known
    assert [name for name, _ in found.scores[:2]] == ["0:1", "0:1, BGR"]
    assert sorted(name for name, _ in found.scores) == sorted(BY_NAME)
    scores = [score for _, score in found.scores]
    assert scores == sorted(scores)
    assert scores[0] < 0.03
    assert scores[2] > 5 * scores[0]


@pytest.mark.parametrize("name", [c.name for c in CONVENTIONS])
def test_the_example_made_for_another_convention(example, name):
    """A first layer rewritten for any other convention is recognised as what it expects.

    Where the channels have numbers of their own, their order hardly shows, so only the range is
    asked for.
    """
    expect(example, BY_NAME[name].format)
    found = detected(example)
    assert found.certain
    assert BY_NAME[found.name].range == BY_NAME[name].range
    if len(found.format.low) == 1:
        assert found.name == name


def test_normalisation_inside_the_graph(example):
    """A graph that divides pixels by 255 by itself takes 0:255."""
    source = example.graph.inputs[0]
    tape = Tape(example.graph)
    by = add_initializer(example.graph, "white", np.array(255, np.float32))
    divided = tape.op("Div", [source, by])
    for node, index in list(source.uses()):
        if node is not divided.producer():
            node.replace_input_with(index, divided)
    example.graph.sort()
    assert detected(example).name == "0:255"


@pytest.mark.parametrize(
    ("file", "size", "name", "order_known"),
    [
        ("ssdlite_mnv2_person_bn", (300, 300), "-1:1", True),
        ("yolov3tiny_coco_bn", (416, 416), "0:1", True),
        ("ppocrv3_det_bn", (320, 320), IMAGENET, False),
        ("ppocrv3_det_bn", (64, 96), IMAGENET, False),
    ],
)
def test_real_detectors(real_models, file, size, name, order_known):
    """What they were trained with, at any size; pages of text do not show the order of colours."""
    model = model_file.load(
        real_models / f"{file}.onnx", input_shape=size if file.startswith("pp") else None
    ).model
    found = detected(model, (3, *size))
    assert (found.name, found.certain, found.order_known) == (name, True, order_known)


@pytest.mark.parametrize("name", ["0:1", "-1:1", "0:255"])
def test_one_channel(example, name):
    """A model of grey pictures has a range, and no order of channels."""
    expect(example, BY_NAME[name].format)
    conv, _ = stem(example)
    grey = constant(conv.inputs[1]).sum(1, keepdims=True)
    set_constant(conv.inputs[1], grey)
    example.graph.inputs[0].shape = ir.Shape([1, 1, 128, 128])
    found = detected(example, (1, 128, 128))
    assert (found.name, found.certain, found.order_known) == (name, True, True)
    assert {name for name, _ in found.scores} == {"0:1", "-1:1", "0:255"}


def test_known_to_be_bgr(example):
    """Where the order is given only the range is found."""
    found = detected(example, bgr=True)
    assert (found.name, found.certain) == ("0:1, BGR", True)
    assert all(BY_NAME[name].format.bgr for name, _ in found.scores)


def test_grey_colours_do_not_show_the_order(example):
    """Weights that are the same for every channel leave the order open, and RGB is taken."""
    conv, _ = stem(example)
    weight = constant(conv.inputs[1])
    set_constant(conv.inputs[1], np.repeat(weight.mean(1, keepdims=True), 3, 1))
    found = detected(example)
    assert (found.name, found.certain, found.order_known) == ("0:1", True, False)


def test_dead_channels_do_not_count(example):
    """Half of the channels dead, with variances near 0: the same answer, as sure as before."""
    conv, norm = stem(example)
    weight, scale, variance = (
        constant(v).copy() for v in (conv.inputs[1], norm.inputs[1], norm.inputs[4])
    )
    weight[:8], scale[:8], variance[:8] = 0, 1e-3, 1e-12
    set_constant(conv.inputs[1], weight)
    set_constant(norm.inputs[1], scale)
    set_constant(norm.inputs[4], variance)
    set_constant(norm.inputs[3], np.where(np.arange(16) < 8, 0, constant(norm.inputs[3])))
    found = detect_input_format(example, harvest(example)[:1], PICTURE, threads=1)
    assert (found.name, found.certain) == ("0:1", True)


def test_in_doubt_it_asks(rng):
    """Where nothing fits the error names at least two candidates with the options to give."""
    found = detected(untrained(rng), (3, 16, 16))
    assert not found.certain
    assert len(found.rivals) >= 2
    with pytest.raises(OptionError, match="cannot be told") as caught:
        found.require_certain()
    for name, flags in found.rivals:
        assert f"{flags} ({name})" in str(caught.value)
    assert str(caught.value).count("--") >= 2


def test_two_ranges_that_fit_alike(example):
    """Halfway between the contrast of -1:1 and of ImageNet's numbers both are named."""
    expect(example, InputFormat.from_range(-1.5, 1.5))
    found = detected(example)
    assert not found.certain
    assert {BY_NAME[name].range for name, _ in found.rivals} == {"-1:1", IMAGENET}


def test_values_that_overflow_are_no_match(rng):
    """Infinite outputs under 0:255 count as the worst match, not as an error."""
    huge = untrained(rng, w=np.full((8, 3, 3, 3), 1e36))
    scores = dict(detected(huge, (3, 16, 16)).scores)
    assert scores["0:255"] == 1.0


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.7, 1.0), (-2.0, 3.0), (1.0, 0.2)])
def test_the_distance_is_hellingers(rng, mean, deviation):
    """It is half the integral of the squared difference of the roots of both densities."""
    values = rng.normal(size=(1, 1, 200, 200))
    values = ((values - values.mean()) / values.std()).astype(np.float32)  # exactly N(0, 1)
    layer = LayerStatistics("y", np.array([mean]), np.array([deviation]))
    unit = float(layer.unit[0])
    measured = np.sqrt(1 + unit**2 - deviation**2)  # both variances have the floor of the unit
    x = np.linspace(-40, 40, 400_001)
    densities = [
        np.exp(-(((x - m) / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))
        for m, s in ((0, measured), (mean, unit))
    ]
    expected = 0.5 * np.trapezoid((np.sqrt(densities[0]) - np.sqrt(densities[1])) ** 2, x)
    assert input_convention._distance(values, layer) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("usual", CONVENTIONS, ids=[c.name for c in CONVENTIONS])
def test_flags_say_the_same(usual):
    """The options that are printed give exactly the format when they are typed."""

    @click.command()
    @options.input_options
    def command(input_shape, inputs, **choices):
        return options.input_format(**choices)

    typed = command.main(usual.flags.split(), standalone_mode=False)
    assert typed == usual.format


def test_a_model_that_takes_one_picture_alone_gives_the_same_scores(example):
    """The pictures go through it one by one, and count together (1e-6)."""
    expected = dict(detected(example).scores)
    conv, _ = stem(example)
    source = example.graph.inputs[0]
    source.shape = ir.Shape([1, *source.shape[1:]])
    axis = add_initializer(example.graph, "batch_axis", np.array([0]))
    tape = Tape()
    single = tape.op("Unsqueeze", [tape.op("Squeeze", [source, axis]), axis])
    example.graph.insert_before(conv, tape.nodes)
    conv.replace_input_with(0, single)
    for name, node in zip(("alone", "again"), tape.nodes, strict=True):
        node.outputs[0].name = name
    assert dict(detected(example).scores) == pytest.approx(expected, abs=1e-6)
