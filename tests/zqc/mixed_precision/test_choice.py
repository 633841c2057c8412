"""Bits by layer for a target size, through the whole pipeline."""

import numpy as np
import onnx
import pytest

from tests.nets import model
from zqc.commands import compile as compiler
from zqc.commands.compile import compile_model
from zqc.errors import OptionError
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


@pytest.fixture
def source(tmp_path):
    """A detector whose three inner layers hold 9,216 weights each."""
    rng = np.random.default_rng(5)
    inner = (CHANNELS, CHANNELS, 3, 3)
    shapes = [(CHANNELS, 3, 3, 3), inner, inner, inner, (4, CHANNELS, 1, 1)]
    weights = [rng.normal(0, 1.4 / np.sqrt(np.prod(s[1:])), s).astype(np.float32) for s in shapes]
    proto = model(NET, opset=14, **{f"w{i}": weight for i, weight in enumerate(weights)})
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    for node, name in zip(convolutions, LAYERS, strict=True):
        node.name = name
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    np.savez(tmp_path / "own.npz", images=rng.uniform(0, 1, (4, 3, 16, 16)).astype(np.float32))
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
    result = compiled(source, target_size=share)
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


def test_no_budget_chooses_nothing(source):
    """Without a target all layers have the recipe's bits."""
    result = compiled(source, bits=4)
    assert not result.bits_chosen
    assert [layer.weight_bits for layer in result.layers] == [8, 4, 4, 4, 8]


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
