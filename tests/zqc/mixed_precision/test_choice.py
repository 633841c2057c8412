"""Bits by layer for a target size, through the whole pipeline."""

import numpy as np
import onnx
import pytest

from tests.nets import model
from zqc.commands import compile as compiler
from zqc.commands.compile import compile_model
from zqc.errors import OptionError
from zqc.mixed_precision.choice import mixes_bits
from zqc.pictures.input_format import InputFormat
from zqc.recipe.recipe import Recipe

CHANNELS = 32
NET = """net (float[N,3,16,16] x) => (float[N,4,h,w] y) {
    a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w0) ra = Relu(a)
    b = Conv <pads=[1,1,1,1]> (ra, w1) rb = Relu(b)
    c = Conv <pads=[1,1,1,1]> (rb, w2) rc = Relu(c)
    d = Conv <pads=[1,1,1,1]> (rc, w3) rd = Relu(d)
    head = Conv (rd, w4)
    y = Sigmoid (head)
}"""
LAYERS = ("stem", "one", "two", "three", "head")
STEM, INNER, HEAD = (CHANNELS, 3, 3, 3), (CHANNELS, CHANNELS, 3, 3), (4, CHANNELS, 1, 1)


@pytest.fixture
def source(tmp_path):
    """A detector whose three inner layers hold 9,216 weights each."""
    return write(tmp_path / "model.onnx", NET, LAYERS, [STEM, INNER, INNER, INNER, HEAD])


@pytest.fixture
def source_with_a_small_layer(tmp_path):
    """The same with a depthwise layer of 288 weights, whose channels differ, behind the first."""
    text = NET.replace("Conv <pads=[1,1,1,1]> (ra, w1)", "Conv <pads=[1,1,1,1]> (rs, w1)").replace(
        "    b =", f"    s = Conv <pads=[1,1,1,1], group={CHANNELS}> (ra, w5) rs = Relu(s)\n    b ="
    )
    names = (LAYERS[0], "small", *LAYERS[1:])
    shapes = [STEM, INNER, INNER, INNER, HEAD, (CHANNELS, 1, 3, 3)]
    return write(tmp_path / "model.onnx", text, names, shapes)


def write(path, text, names, shapes):
    """Write a network with random weights, and pictures beside it."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(0, 1.4 / np.sqrt(np.prod(s[1:])), s).astype(np.float32) for s in shapes]
    proto = model(text, opset=14, **{f"w{i}": weight for i, weight in enumerate(weights)})
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    for node, name in zip(convolutions, names, strict=True):
        node.name = name
    onnx.save(proto, path)
    images = rng.uniform(0, 1, (4, 3, 16, 16)).astype(np.float32)
    np.savez(path.with_name("own.npz"), images=images)
    return path


@pytest.fixture(autouse=True)
def latencies(monkeypatch):
    """Latencies do not matter here."""
    monkeypatch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])


def compiled(source, **options):
    """Compile with pictures."""
    recipe = Recipe(input_format=InputFormat(), **options)
    output = source.with_name("out.onnx")
    images = source.with_name("own.npz")
    return compile_model(source, output, recipe=recipe, images=images, threads=1)


def stored_kinds(path):
    """Type of the weight of each layer with a 3×3 kernel of 32 channels, in graph order."""
    return sorted(
        onnx.TensorProto.DataType.Name(tensor.data_type)
        for tensor in onnx.load(path).graph.initializer
        if tuple(tensor.dims) == (CHANNELS, CHANNELS, 3, 3)
    )


def test_the_file_is_as_small_as_asked(source):
    """The file meets its budget; the inner layers share what there is; the result lists bits."""
    share = 0.255  # the inner layers take 0.06 at 2 bits and 0.24 at 8, all the rest takes 0.1
    result = compiled(source, target_size=share, weight_levels="uniform")
    assert share - 0.02 < result.bytes_after / source.stat().st_size <= share
    assert result.bits_chosen
    bits = {layer.name: layer.weight_bits for layer in result.layers}
    assert tuple(bits) == LAYERS
    assert bits["stem"] == bits["head"] == 8
    inner = sorted(bits[name] for name in LAYERS[1:-1])
    assert inner[0] < inner[-1]
    kinds = {4: "INT4", 8: "INT8"}  # other widths are packed into bytes
    assert stored_kinds(result.output) == [kinds[b] for b in inner if b in kinds]
    assert result.output.stat().st_size == result.bytes_after


def test_a_generous_budget_leaves_eight_bits(source):
    """Where everything fits, nothing is lost."""
    result = compiled(source, target_size=0.9)
    assert {layer.weight_bits for layer in result.layers} == {8}
    assert result.bits_chosen


def test_uniform_bits_are_not_chosen(source):
    """All layers have the recipe's bits where it says so."""
    result = compiled(source, bits=4, uniform_bits=True)
    assert not result.bits_chosen
    assert result.mixed_room == 0
    assert [layer.weight_bits for layer in result.layers] == [8, 4, 4, 4, 8]


def error_of(result):
    """The noise of all outputs together, relative to them."""
    return sum(10 ** (-part.sqnr_db / 10) for part in result.agreement)


def test_bits_are_mixed_where_the_file_allows_it(source_with_a_small_layer):
    """By default, and in a file at most 3 % larger; outputs are no worse than with equal bits."""
    source = source_with_a_small_layer
    uniform, mixed = (compiled(source, bits=4, uniform_bits=value) for value in (True, False))
    assert mixed.bits_chosen
    assert mixed.bytes_after <= (1 + mixed.mixed_room) * uniform.bytes_after
    assert mixed.precision == uniform.precision == "w4a8"
    bits = {layer.name: layer.weight_bits for layer in mixed.layers}
    assert (bits["stem"], bits["head"]) == (8, 8)
    assert bits["small"] == 8
    assert error_of(mixed) < 0.7 * error_of(uniform)
    assert "than with --uniform-bits" in str(mixed)


def test_more_bits_make_less_error(source_with_a_small_layer):
    """A tenth, and twice as many: files within what is allowed, errors that fall."""
    source = source_with_a_small_layer
    uniform = compiled(source, bits=4, uniform_bits=True)
    shares = (0.1, 1.0)
    found = [compiled(source, bits=4, extra_bits=share) for share in shares]
    for result, share in zip(found, shares, strict=True):
        assert result.mixed_room == share
        assert result.bytes_after <= (1 + share) * uniform.bytes_after
    some, most = found
    assert error_of(most) < error_of(some) < error_of(uniform)
    assert {layer.weight_bits for layer in most.layers} == {8}
    assert "at most 10% larger" in str(some)


@pytest.mark.parametrize("options", [{"bits": 8}, {"bits": 5, "target": "portable"}])
def test_bits_are_not_mixed_for_nothing(source, options):
    """Neither at 8 bits, nor where fewer take as much of the file."""
    assert not mixes_bits(Recipe(**options))
    assert len({layer.weight_bits for layer in compiled(source, **options).layers[1:-1]}) == 1


def test_without_inner_layers_nothing_is_mixed(tmp_path):
    """Where only the first and the last layer could have other bits, the file is the same."""
    text = """net (float[N,3,16,16] x) => (float[N,4,h,w] y) {
        a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w0) ra = Relu(a) y = Conv (ra, w1)
    }"""
    source = write(tmp_path / "model.onnx", text, ("stem", "head"), [STEM, HEAD])
    mixed, uniform = (compiled(source, bits=4, uniform_bits=value) for value in (False, True))
    assert not mixed.bits_chosen
    assert mixed.agreement == uniform.agreement


def test_an_impossible_budget_is_refused(source):
    """The message says what would be possible, asking for that succeeds, and nothing is written."""
    with pytest.raises(OptionError, match=r"smallest possible share is 0\.\d+") as caught:
        compiled(source, target_size=0.01)
    assert not source.with_name("out.onnx").exists()
    words = str(caught.value).split("smallest possible share is ")[1]
    share = float(words.split(";")[0])
    result = compiled(source, target_size=share)
    assert result.bytes_after <= share * source.stat().st_size


def test_kept_layers_have_no_choice(source):
    """A layer that stays float is float whatever the budget says."""
    result = compiled(source, target_size=0.6, keep_float=("two",))
    bits = {layer.name: layer.weight_bits for layer in result.layers}
    assert bits["two"] == 32
    assert max(bits[name] for name in ("one", "three")) <= 8
    assert result.bytes_after <= 0.6 * source.stat().st_size
