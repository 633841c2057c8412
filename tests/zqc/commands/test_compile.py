"""The pipeline from a float file to a quantized one."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from PIL import Image

from passes.graph import constant
from tests import nets
from tests.calibration import plan_of
from zqc import pipeline
from zqc.commands import amounts, inputs
from zqc.commands import compile as compiler
from zqc.commands.check import check
from zqc.commands.compile import compile_model
from zqc.commands.read_recipe import read_recipe
from zqc.commands.stats import stats
from zqc.commands.synthesize import synthesize_to
from zqc.errors import FloatKernelsError, NoBatchNormError, OptionError, RuntimeFailure
from zqc.pictures.images import write_tensors
from zqc.pictures.input_format import InputFormat
from zqc.quantization import candidates
from zqc.quantization.prepare import prepare
from zqc.recipe.recipe import PRESETS, Recipe
from zqc.recipe.toml import from_toml
from zqc.runtime import session
from zqc.statistics.input_choice import InputChoice
from zqc.tuning import schedule

ROOT = Path(__file__).parents[3]

NET = """
net (float[N, 3, 24, 32] images) => (float[N, 2, a, b] boxes, float[N, 3, a, b] scores) {
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (images, w1)
    n1 = BatchNormalization <epsilon = 0.001> (c1, g1, b1, m1, v1)
    r1 = Relu (n1)
    c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2)
    n2 = BatchNormalization <epsilon = 0.001> (c2, g2, b2, m2, v2)
    s2 = Sigmoid (n2)
    a2 = Mul (n2, s2)
    c3 = Conv <pads = [1, 1, 1, 1]> (a2, w3)
    n3 = BatchNormalization <epsilon = 0.001> (c3, g3, b3, m3, v3)
    r3 = LeakyRelu <alpha = 0.1> (n3)
    joined = Add (r3, a2)
    box_logits = Conv (joined, w4, b4)
    boxes = Mul (box_logits, stride)
    score_logits = Conv (joined, w5, b5)
    scores = Sigmoid (score_logits)
}
"""
LAYERS = ("stem", "down", "deep", "box_head", "score_head")
PRECISIONS = {"int8": (8, 8), "w4a8": (4, 8), "w4a4": (4, 4)}
EVERY_PRECISION = pytest.mark.parametrize("precision", list(PRECISIONS))


def network(seed=0):
    """Five layers with names, three of them with BatchNorm; 13,824 weights in the inner two."""
    rng = np.random.default_rng(seed)
    shapes = {
        "w1": (16, 3, 3, 3),
        "w2": (32, 16, 3, 3),
        "w3": (32, 32, 3, 3),
        "w4": (2, 32, 1, 1),
        "w5": (3, 32, 1, 1),
    }
    arrays = {n: rng.normal(0, 1.5 / np.sqrt(np.prod(s[1:])), s) for n, s in shapes.items()}
    for index, count in ((1, 16), (2, 32), (3, 32)):
        arrays[f"g{index}"] = rng.uniform(0.5, 1.5, count)
        arrays[f"b{index}"] = rng.normal(0, 0.5, count)
        arrays[f"m{index}"] = rng.normal(0, 0.3, count)
        arrays[f"v{index}"] = rng.uniform(0.2, 1, count)
    arrays |= {"b4": rng.normal(size=2), "b5": rng.normal(size=3) - 2, "stride": 8.0}
    typed = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    proto = nets.model(NET, **typed)
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    for node, name in zip(convolutions, LAYERS, strict=True):
        node.name = name
    return proto


def recipe_of(precision="int8", **options):
    """Four pictures, quickly."""
    bits, act_bits = PRECISIONS[precision]
    options = {"input_format": InputFormat()} | options
    options = {"samples": 4, "uniform_bits": True, "weight_levels": "uniform"} | options
    return Recipe(bits=bits, act_bits=act_bits, **options)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Five steps are enough where it does not matter how good the pictures are."""
    monkeypatch.setattr(amounts, "_SYNTHESISED", {"standard": (4, 5, 0.0)})
    monkeypatch.setattr(schedule, "_EFFORTS", {"standard": (40, 40, 0.0)})
    monkeypatch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])


@pytest.fixture
def source(tmp_path):
    """The network's file, alone in its folder."""
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    return path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compile to a precision and target once for all tests that only look at the result."""
    known = {}
    folder = tmp_path_factory.mktemp("compiled")
    path = folder / "model.onnx"
    onnx.save(network(), path)

    def result(precision, target="ort-x86"):
        if (precision, target) not in known:
            output = folder / f"{precision}.{target}.onnx"
            recipe = recipe_of(precision, target=target)
            known[precision, target] = compile_model(path, output, recipe=recipe, threads=1)
        return known[precision, target]

    return result


def entries(folder):
    """Names of everything in a folder, hidden files included."""
    return sorted(entry.name for entry in folder.iterdir())


def pictures(count=3):
    """Input tensors unlike those that were calibrated with."""
    return np.random.default_rng(9).uniform(0, 1, (count, 3, 24, 32)).astype(np.float32)


def outputs_of(model, *, optimize=True, **options):
    """Run a file or a model on the pictures."""
    return session.load(model, threads=1, optimize=optimize, **options)({"images": pictures()})


@EVERY_PRECISION
def test_every_layer_is_fused(compiled, precision):
    """The file is valid ONNX, and ONNX Runtime runs all its convolutions on integer kernels."""
    result = compiled(precision)
    onnx.checker.check_model(str(result.output), full_check=True)
    kinds = [node.op_type for node in session.executed_graph(result.output).graph]
    assert kinds.count("QLinearConv") == 5
    assert "Conv" not in kinds
    assert result.integer_layers == 5
    assert tuple(layer.name for layer in result.layers) == LAYERS
    assert all(layer.integer and not layer.reason for layer in result.layers)
    outputs = outputs_of(result.output)
    assert {name: value.shape for name, value in outputs.items()} == {
        "boxes": (3, 2, 6, 8),
        "scores": (3, 3, 6, 8),
    }


@pytest.mark.parametrize(("precision", "least_db"), [("int8", 22), ("w4a8", 17), ("w4a4", 6)])
def test_outputs_are_near_the_float_ones(source, tmp_path, precision, least_db):
    """On pictures of the calibrated kind, signal stands above error, higher with more bits."""
    other = np.random.default_rng(10).uniform(0, 1, (4, 3, 24, 32)).astype(np.float32)
    np.savez(tmp_path / "own.npz", images=other)
    result = compile_model(
        source, recipe=recipe_of(precision), images=tmp_path / "own.npz", threads=1
    )
    expected, got = outputs_of(source), outputs_of(result.output)
    for name, values in expected.items():
        ratio = np.sum(values**2) / np.sum((values - got[name]) ** 2)
        assert 10 * np.log10(ratio) > least_db


@EVERY_PRECISION
def test_bits_are_those_asked_for(compiled, precision):
    """Layers between the first and the last have the bits of the recipe, those have 8 of both.

    What the first one puts out is one of its activations, so the layer behind it reads 8 bits.
    """
    result = compiled(precision)
    bits, act_bits = PRECISIONS[precision]
    assert result.precision == precision
    assert result.first_last == ("stem", "box_head", "score_head")
    for layer in result.layers:
        inner = layer.name in ("down", "deep")
        assert layer.weight_bits == (bits if inner else 8)
        assert layer.act_bits == (act_bits if layer.name == "deep" else 8)
    stored = [
        tensor
        for tensor in onnx.load(result.output).graph.initializer
        if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.INT8)
        and len(tensor.dims) == 4
    ]
    types = {tuple(tensor.dims): tensor.data_type for tensor in stored}
    assert len(types) == 5
    inner = onnx.TensorProto.INT4 if bits == 4 else onnx.TensorProto.INT8
    assert types.pop((32, 16, 3, 3)) == types.pop((32, 32, 3, 3)) == inner
    assert set(types.values()) == {onnx.TensorProto.INT8}


def test_first_and_last_layers_may_have_four_bits(source):
    """With first_last_bits = 4, no layer is spared."""
    recipe = recipe_of("w4a4", first_last_bits=4, rounding="nearest")
    result = compile_model(source, recipe=recipe, threads=1)
    assert {(layer.weight_bits, layer.act_bits) for layer in result.layers} == {(4, 4)}
    assert result.integer_layers == 5


@EVERY_PRECISION
def test_activations_have_as_many_values_as_their_bits(compiled, precision):
    """What the inner layers really read are at most 2^bits different values."""
    result = compiled(precision)
    bits = {"down": 8, "deep": PRECISIONS[precision][1]}
    model = ir.load(result.output)
    nodes = {node.name: node for node in model.graph}
    reads = {name: nodes[name].inputs[0] for name in bits}
    for value in reads.values():
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), None
    model.graph.outputs.extend(reads.values())
    outputs = outputs_of(model, optimize=False)
    for name, value in reads.items():
        distinct = len(np.unique(outputs[value.name]))
        assert 2 ** bits[name] / 4 < distinct <= 2 ** bits[name]


def test_sizes(compiled):
    """Reported sizes are those of the files; 4-bit weights take half of the bytes of 8-bit ones."""
    results = [compiled(precision) for precision in PRECISIONS]
    for result in results:
        assert result.bytes_after == result.output.stat().st_size
        assert result.bytes_before == result.output.with_name("model.onnx").stat().st_size
    int8, w4a8, _ = results
    assert int8.bytes_after < 0.4 * int8.bytes_before
    assert int8.bytes_after - w4a8.bytes_after == pytest.approx(13_824 / 2, rel=0.1)


def test_metadata(source):
    """The file says how it was made, and keeps what the source said about itself."""
    proto = network()
    onnx.helper.set_model_props(proto, {"names": "{0: 'person'}"})
    onnx.save(proto, source)
    result = compile_model(source, recipe=recipe_of("w4a8"), threads=1)
    found = {entry.key: entry.value for entry in onnx.load(result.output).metadata_props}
    assert set(found) == {
        "names",
        "zqc.calibration",
        "zqc.precision",
        "zqc.recipe",
        "zqc.source_sha256",
        "zqc.version",
    }
    assert found["names"] == "{0: 'person'}"
    assert found["zqc.precision"] == "w4a8"
    assert from_toml(found["zqc.recipe"], where="metadata") == recipe_of("w4a8")
    assert found["zqc.calibration"] == result.calibration
    assert "4 pictures synthesised from 3 BatchNorm layers" in result.calibration
    assert "seed 0" in result.calibration


@EVERY_PRECISION
def test_default_output(source, precision):
    """Without a name, the result stands beside the source and is called after the precision."""
    result = compile_model(source, recipe=recipe_of(precision, rounding="nearest"), threads=1)
    assert result.output == source.with_name(f"model.{precision}.onnx")
    assert entries(source.parent) == sorted([source.name, result.output.name])


@pytest.mark.parametrize("precision", ["int8", "w4a4"])
def test_the_same_command_gives_the_same_bytes(compiled, source, tmp_path, precision):
    """Twice the same recipe is twice the same file, in any folder; another seed gives another."""
    paths = [tmp_path / f"{seed}.onnx" for seed in (0, 1)]
    for seed, path in enumerate(paths):
        compile_model(source, path, recipe=recipe_of(precision, seed=seed), threads=1)
    again, other = (path.read_bytes() for path in paths)
    first = compiled(precision).output.read_bytes()
    assert first == again
    assert first != other


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(source, tmp_path, preset):
    """Each compiles to a file of integer layers, whose recipe makes the same bytes again."""
    recipe = dataclasses.replace(
        PRESETS[preset], bits=4, samples=4, effort="standard", input_format=InputFormat()
    )
    paths = [tmp_path / "first.onnx", tmp_path / "second.onnx"]
    result = compile_model(source, paths[0], recipe=recipe, threads=1)
    assert result.integer_layers == 5
    assert all(part.correlation > 0.9 for part in result.agreement)
    again = read_recipe(paths[0])
    assert again == recipe
    compile_model(source, paths[1], recipe=again, threads=1)
    assert paths[0].read_bytes() == paths[1].read_bytes()


OPTIONS = {
    "equalization by statistics": (
        "w4a8",
        {"equalization": "statistics", "insert_factors": "always"},
    ),
    "no equalization": ("w4a4", {"equalization": "none"}),
    "rule": ("w4a4", {"shift": "rule"}),
    "no shift": ("w4a4", {"shift": "none"}),
    "mse": ("w4a4", {"threshold": "mse"}),
    "mae": ("w4a4", {"threshold": "mae", "z_score": 3.0}),
    "second moments": ("w4a8", {"second_moments": True}),
    "no correction": ("w4a8", {"bias_correction": "none"}),
    "means of the pictures": ("w4a8", {"bias_correction": "pictures"}),
    "outputs": ("w4a8", {"bias_correction": "outputs", "rounding": "nearest"}),
    "compensated": ("w4a4", {"rounding": "compensated"}),
    "refitted": ("w4a8", {"rounding": "refitted"}),
    "levels": ("w4a4", {"weight_levels": "log-affine"}),
}
"""With 4-bit activations, where weights are trained, those that say how these come about."""


@pytest.mark.parametrize(("precision", "options"), OPTIONS.values(), ids=OPTIONS)
def test_every_option_changes_the_file(compiled, source, precision, options):
    """It is taken, ends in integer layers, and is near the float model."""
    base = compiled(precision)
    result = compile_model(source, recipe=recipe_of(precision, **options), threads=1)
    assert result.integer_layers == 5
    assert graph_bytes(result.output) != graph_bytes(base.output)
    assert all(part.correlation > 0.8 for part in result.agreement)


@pytest.mark.parametrize("min_runtime", [None, "1.16"])
def test_levels_of_weights(tmp_path, min_runtime):
    """Layers with enough weights in a channel have them, and the outputs come nearer."""
    gains = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.onnx"
        onnx.save(network(seed), path)
        uniform, found = (
            compile_model(
                path,
                recipe=recipe_of("w4a8", weight_levels=levels, min_runtime=min_runtime),
                threads=1,
            )
            for levels in ("uniform", "auto")
        )
        assert not any(fact.log_affine for fact in uniform.facts)
        assert [fact.name for fact in found.facts if fact.log_affine] == ["down", "deep"]
        assert "in 2 of 5 layers on levels that are closer near zero" in str(found)
        assert found.integer_layers == 5
        pairs = zip(found.agreement, uniform.agreement, strict=True)
        gains += [part.sqnr_db - other.sqnr_db for part, other in pairs]
    assert np.mean(gains) > 1


def test_levels_are_not_for_every_target():
    """A target whose runtime looks nothing up has uniform ones, and says so where asked."""
    assert not recipe_of("w4a8", target="openvino", weight_levels="auto").log_affine
    with pytest.raises(OptionError, match="the target openvino takes no codes of weights"):
        recipe_of("w4a8", weight_levels="log-affine", target="openvino")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "statistics"),
        ({"images": "synthesised.npz"}, "statistics"),
        ({"images": "own.npz"}, "pictures"),
        ({"no_statistics": True}, "pictures"),
    ],
    ids=["synthesised here", "synthesised before", "pictures of ones own", "noise"],
)
def test_where_means_come_from(source, tmp_path, given, expected):
    """From the statistics that pictures are synthesised from, and from any other pictures."""
    write_tensors(tmp_path / "synthesised.npz", pictures(), synthesised=True)
    np.savez(tmp_path / "own.npz", images=pictures())
    if "images" in given:
        given = {"images": tmp_path / given["images"]}
    graphs = {}
    for chosen in ("auto", "statistics", "pictures"):
        output = tmp_path / f"{chosen}.onnx"
        recipe = recipe_of("w4a8", bias_correction=chosen)
        compile_model(source, output, recipe=recipe, threads=1, **given)
        graphs[chosen] = graph_bytes(output)
    assert graphs["statistics"] != graphs["pictures"]
    assert graphs["auto"] == graphs[expected]


def test_synthesised_pictures_of_a_model_without_statistics(source, tmp_path):
    """Means are those of the pictures where BatchNorm is gone, whoever made them."""
    ir.save(prepare(ir.load(source), plan_of(recipe_of())), source)
    write_tensors(tmp_path / "pictures.npz", pictures(), synthesised=True)
    graphs = []
    for chosen in ("auto", "pictures"):
        output = tmp_path / f"{chosen}.onnx"
        recipe = recipe_of("w4a8", bias_correction=chosen)
        compile_model(source, output, recipe=recipe, images=tmp_path / "pictures.npz", threads=1)
        graphs.append(graph_bytes(output))
    assert graphs[0] == graphs[1]


def graph_bytes(path):
    """The graph without the metadata, in which the paths of the pictures stand."""
    return onnx.load(path).graph.SerializeToString(deterministic=True)


def test_pictures_of_ones_own(source, tmp_path, monkeypatch):
    """A folder of PNGs, their pixels and their tensors in an npz are one and the same to it."""
    monkeypatch.setattr(inputs, "synthesised", None)  # must not be called
    pixels = np.random.default_rng(3).integers(0, 256, (5, 24, 32, 3), np.uint8)
    folder = tmp_path / "pngs"
    folder.mkdir()
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{index}.png")
    np.savez(tmp_path / "pixels.npz", images=pixels)
    tensors = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.savez(tmp_path / "tensors.npz", images=tensors)
    graphs = []
    for images in (folder, tmp_path / "pixels.npz", tmp_path / "tensors.npz"):
        output = tmp_path / f"{images.stem}.onnx"
        result = compile_model(source, output, recipe=recipe_of("w4a8"), images=images, threads=1)
        assert result.calibration.startswith("4 ")  # no more than the recipe's samples
        assert str(images) in result.calibration
        graphs.append(graph_bytes(output))
    assert graphs[0] == graphs[1] == graphs[2]


def test_pictures_replace_batchnorm(source, tmp_path):
    """A model without BatchNorm need not have any; where it is required, remedies are named."""
    proto = network()
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization":
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    onnx.save(proto, source)
    with pytest.raises(NoBatchNormError, match="--images"):
        compile_model(source, recipe=recipe_of(), require_statistics=True, threads=1)
    assert entries(tmp_path) == ["model.onnx"]
    noise = compile_model(source, recipe=recipe_of(), threads=1)
    assert noise.caution.startswith("no BatchNorm statistics in the model: calibrated with")
    asked_for = compile_model(source, recipe=recipe_of(), no_statistics=True, threads=1)
    assert noise.content == asked_for.content
    np.savez(tmp_path / "own.npz", images=pictures())
    result = compile_model(source, recipe=recipe_of(), images=tmp_path / "own.npz", threads=1)
    assert result.integer_layers == 5


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        (("deep",), {"deep"}),
        (("*_head",), {"box_head", "score_head"}),
        (("stem", "do*"), {"stem", "down"}),
    ],
)
def test_kept_layers_stay_float(source, patterns, kept):
    """Exactly the layers of the patterns are float, in the file and in what is executed."""
    result = compile_model(source, recipe=recipe_of("w4a8", keep_float=patterns), threads=1)
    nodes = {node.name: node for node in ir.load(result.output).graph}
    executed = {node.name: node.op_type for node in session.executed_graph(result.output).graph}
    for layer in result.layers:
        is_kept = layer.name in kept
        assert (layer.weight_bits == 32) == is_kept
        assert layer.integer != is_kept
        assert layer.reason == ("kept by --keep-float" if is_kept else "")
        assert (nodes[layer.name].inputs[1].producer() is None) == is_kept
        assert ("QLinear" in executed[layer.name]) != is_kept


def test_no_layer_may_stay_float_where_integers_are_required(source):
    """The layer and its rule are named, and nothing is written; without one all is well."""
    options = {"require_integer": True}
    assert compile_model(source, recipe=recipe_of(**options), threads=1).integer_layers == 5
    (source.parent / "model.int8.onnx").unlink()
    with pytest.raises(FloatKernelsError, match="Conv deep: kept by --keep-float"):
        compile_model(source, recipe=recipe_of(keep_float=("deep",), **options), threads=1)
    assert entries(source.parent) == ["model.onnx"]


@EVERY_PRECISION
def test_a_reduced_range(source, precision):
    """No weight needs an eighth bit, and the report says so."""
    result = compile_model(source, recipe=recipe_of(precision, reduce_range=True), threads=1)
    assert max(layer.weight_bits for layer in result.layers) == 7
    executed = session.executed_graph(result.output).graph
    weights = [constant(n.inputs[3]) for n in executed if n.op_type == "QLinearConv"]
    assert len(weights) == 5
    assert {weight.dtype.name for weight in weights} == {"int8"}
    assert (min(w.min() for w in weights), max(w.max() for w in weights)) == (-64, 63)
    assert result.saturation == ""


def test_old_runtimes_get_the_same_values(compiled, source):
    """Without INT4 and at opset 13, a file of 4-bit weights has its size, layers and values."""
    base = compiled("w4a8")
    result = compile_model(source, recipe=recipe_of("w4a8", min_runtime="1.16"), threads=1)
    proto = onnx.load(result.output)
    assert (proto.opset_import[0].version, proto.ir_version) == (13, 7)
    assert result.integer_layers == 5
    assert abs(result.bytes_after - base.bytes_after) < 1000
    for name, values in outputs_of(base.output).items():
        assert np.array_equal(outputs_of(result.output)[name], values)


@pytest.mark.parametrize("bits", [2, 3, 5, 6])
def test_odd_bits_take_no_more(compiled, source, bits):
    """13,824 weights are stored in as many bits as they have, and all layers are fused."""
    whole = compiled("int8")
    recipe = dataclasses.replace(recipe_of(), bits=bits)
    result = compile_model(source, recipe=recipe, threads=1)
    assert result.integer_layers == 5
    assert [layer.weight_bits for layer in result.layers] == [8, bits, bits, 8, 8]
    saved = whole.bytes_after - result.bytes_after
    assert 13_824 * (8 - bits) / 8 - 800 < saved <= 13_824 * (8 - bits) / 8


def test_a_pattern_that_matches_nothing_is_refused(source):
    """A misspelt layer is an error, not a layer that is quantized after all."""
    with pytest.raises(OptionError, match="'stme' matches no node"):
        compile_model(source, recipe=recipe_of(keep_float=("stme",)), threads=1)
    assert entries(source.parent) == ["model.onnx"]


def test_the_source_is_never_overwritten(source, tmp_path):
    """An output that is the input, by another way or through a link, is refused."""
    before = source.read_bytes()
    link = tmp_path / "link.onnx"
    link.symlink_to(source)
    for output in (source, tmp_path / "." / "model.onnx", link):
        with pytest.raises(OptionError, match="is the input"):
            compile_model(source, output, recipe=recipe_of(), threads=1)
    assert source.read_bytes() == before
    assert entries(tmp_path) == ["link.onnx", "model.onnx"]


STAGES = {
    "synthesis": (inputs, "synthesised"),
    "calibration": (candidates, "calibrate"),
    "quantization": (pipeline, "quantize"),
    "proof on ONNX Runtime": (session, "executed_graph"),
    "comparison": (pipeline, "output_agreement"),
    "latency": (compiler, "median_latencies"),
}


@pytest.mark.parametrize(
    ("kind", "existing"), [(RuntimeFailure, None), (KeyboardInterrupt, b"an older result")]
)
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_written_when_a_stage_fails(source, monkeypatch, stage, kind, existing):
    """Whatever fails, or Ctrl-C at any stage: no file appears and an older result stays."""

    def fail(*arguments, **options):
        raise kind("no")

    monkeypatch.setattr(*STAGES[stage], fail)
    output = source.with_name("out.onnx")
    if existing:
        output.write_bytes(existing)
    before = entries(source.parent)
    with pytest.raises(kind):
        compile_model(source, output, recipe=recipe_of(), threads=1)
    assert entries(source.parent) == before
    if existing:
        assert output.read_bytes() == existing


def test_interrupted_synthesis_leaves_no_folder(source, tmp_path, monkeypatch):
    """Ctrl-C while pictures are made leaves nothing beside the model."""

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("zqc.commands.synthesize.synthesize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthesize_to(source, tmp_path / "pictures", recipe=recipe_of(), threads=1)
    assert entries(tmp_path) == ["model.onnx"]


def test_synthesised_pictures_calibrate_alike(source, tmp_path):
    """Pictures that were written, with noise beside them, give the graph of compiling without."""
    made = synthesize_to(source, tmp_path / "pictures", recipe=recipe_of(), threads=1)
    assert (made.count, made.shape, made.layers) == (4, (3, 24, 32), 3)
    names = ["000.png", "001.png", "002.png", "003.png", "pictures.npz", "report"]
    assert entries(made.directory) == names
    paths = [tmp_path / "direct.onnx", tmp_path / "indirect.onnx"]
    written = np.load(made.directory / "pictures.npz")["images"]
    free = inputs.noise((3, 24, 32), recipe_of(), InputFormat())
    both = np.concatenate([written, free])
    write_tensors(tmp_path / "both.npz", both, synthesised=True, noise=len(free))
    images = [None, tmp_path / "both.npz"]
    for path, given in zip(paths, images, strict=True):
        compile_model(
            source,
            path,
            recipe=recipe_of("w4a8", samples=8 if given else 4),
            images=given,
            threads=1,
        )
    assert graph_bytes(paths[0]) == graph_bytes(paths[1])


@EVERY_PRECISION
def test_portable_output_is_canonical(compiled, precision):
    """Standard ONNX: QDQ pairs, scales that are powers of two, zero points for SiLU, no tricks."""
    proto = canonical_proto(compiled(precision, "portable").output)
    points = zero_points(proto)
    assert all(not point or kind.startswith("uint") for kind, point in points)
    assert any(point for _, point in points)
    assert all(point % 2 == 0 for kind, point in points if kind == "uint8")


@EVERY_PRECISION
def test_symmetric_output_has_no_zero_points(compiled, precision):
    """Additions stand for them, and where they are even every value stays what it was."""
    result = compiled(precision, "symmetric")
    proto = canonical_proto(result.output)
    assert {point for _, point in zero_points(proto)} == {0}
    portable = compiled(precision, "portable").output
    expected, got = (outputs_of(path, optimize=False) for path in (portable, result.output))
    even = all(point % 2 == 0 for _, point in zero_points(onnx.load(portable)))
    assert even or precision == "w4a4"
    for name, values in expected.items():
        if even:
            np.testing.assert_array_equal(got[name], values)
        else:  # at 4 bits values lie half-way, and go to the other of two equally near ones
            assert np.corrcoef(got[name].ravel(), values.ravel())[0, 1] > 0.9


def canonical_proto(path):
    """Load a file and check that it is standard ONNX with scales that are powers of two."""
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    kinds = {node.op_type for node in proto.graph.node}
    assert kinds <= {
        "Add",
        "Conv",
        "DequantizeLinear",
        "LeakyRelu",
        "Mul",
        "Pad",
        "QuantizeLinear",
        "Relu",
        "Sigmoid",
        "Sub",
    }
    assert {entry.domain for entry in proto.opset_import} == {""}
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            mantissas, _ = np.frexp(arrays[node.input[1]])
            assert np.all(mantissas == 0.5)
    return proto


def zero_points(proto):
    """Type and number of the zero point of every QuantizeLinear and DequantizeLinear."""
    arrays = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    given = [
        arrays[node.input[2]]
        for node in proto.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2
    ]
    return [(array.dtype.name, int(point)) for array in given for point in array.reshape(-1)]


@pytest.mark.exact_kernels  # the better equalization is chosen by what they compute
@EVERY_PRECISION
def test_targets_have_the_same_values(compiled, precision):
    """Without fusions, the portable file and the one for ONNX Runtime agree to the last bit."""
    portable, lowered = (
        outputs_of(compiled(precision, target).output, optimize=False)
        for target in ("portable", "ort-x86")
    )
    for name, values in portable.items():
        assert np.array_equal(values, lowered[name])
        assert len(np.unique(values)) > 20


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_sources_of_any_opset(tmp_path, opset):
    """A model may be of any opset from 13 on."""
    path = tmp_path / "detector.onnx"
    onnx.save(nets.detector(opset=opset), path)
    result = compile_model(path, recipe=recipe_of("w4a8"), threads=1)
    assert result.integer_layers == 3


def test_a_fixed_batch(tmp_path):
    """A model for batches of three is calibrated with four pictures and stays one for three."""
    path = tmp_path / "detector.onnx"
    onnx.save(nets.detector(batch=3), path)
    result = compile_model(path, recipe=recipe_of(), threads=1)
    assert result.integer_layers == 3
    zeros = np.zeros((3, 3, 16, 16), np.float32)
    assert session.load(result.output)({"images": zeros})["output"].shape == (3, 6, 64)


@pytest.mark.parametrize("threshold", ["mse", "sensitivity"])
def test_an_operator_without_a_gradient_is_no_obstacle(threshold):
    """The layer before it is matched, both for the pictures and for sensitivities; it is said."""
    proto = network()
    (node,) = (node for node in proto.graph.node if node.op_type == "LeakyRelu")
    node.CopyFrom(onnx.helper.make_node("Hardmax", node.input, node.output, "hard", axis=1))
    proto.graph.node.insert(3, onnx.helper.make_node("Hardmax", ["r1"], ["h1"], "first", axis=1))
    proto.graph.node[4].input[0] = "h1"
    result = compile_model(proto, recipe=recipe_of("w4a4", threshold=threshold), threads=1)
    assert "synthesised from 3 BatchNorm layers" in result.calibration
    assert result.calibration.endswith(
        "matched 1 of 3 normalised layers; not reached: what needs the gradient of Hardmax 'first'"
    )
    assert len(result.layers) == 5


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_a_batch_that_the_file_insists_on(batch):
    """A Resize to fixed sizes takes no other; the calibration set fills whole batches."""
    proto = network()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    relu = proto.graph.node[2]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    relu.CopyFrom(onnx.helper.make_node("MaxPool", ["n1"], ["small"], "pool", **pool))
    resize = onnx.helper.make_node("Resize", ["small", "", "", "sizes"], ["r1"], "wide")
    proto.graph.node.insert(3, resize)
    sizes = np.array([batch, 16, 12, 16])
    proto.graph.initializer.append(numpy_helper.from_array(sizes, "sizes"))
    result = compile_model(proto, recipe=dataclasses.replace(recipe_of(), samples=3), threads=1)
    assert result.calibration.startswith(f"{-(-3 // batch) * batch} pictures")
    assert result.integer_layers == 5
    assert min(part.sqnr_db for part in result.agreement) > 15


def test_latencies_are_measured(source, monkeypatch):
    """Both models are run on one picture, and what was measured is reported."""
    seen = []

    def measure(runners, feeds):
        seen.extend(runner(feeds)["scores"].shape for runner in runners)
        return [3.5, 1.25]

    monkeypatch.setattr(compiler, "median_latencies", measure)
    result = compile_model(source, recipe=recipe_of(), threads=1)
    assert seen == [(1, 3, 6, 8)] * 2
    assert (result.latency_before_ms, result.latency_after_ms) == (3.5, 1.25)


def test_report(compiled):
    """Post-processing and agreement speak of the outputs."""
    result = compiled("int8")
    assert [start.split()[0] for start in result.post_processing] == ["Sigmoid"]  # Mul is folded
    assert result.float_operators == ()
    assert [part.part for part in result.agreement] == ["boxes", "scores"]
    assert all(part.correlation > 0.99 for part in result.agreement)


def test_a_card_says_how_pixels_become_values(source, tmp_path):
    """The format that the statistics were measured with is taken, not searched for."""
    pixels = np.random.default_rng(3).integers(0, 256, (16, 24, 32, 3), np.uint8)
    np.savez(tmp_path / "pixels.npz", images=pixels)
    card, form = tmp_path / "card.json", InputFormat.from_range(-1, 1, bgr=True)
    stats(source, card, images=tmp_path / "pixels.npz", input_format=form, threads=1)
    recipe = Recipe(samples=4)
    made = synthesize_to(source, tmp_path / "made", recipe=recipe, statistics=card, threads=1)
    assert made.input_choice == InputChoice("-1:1, BGR", "card")
    tensors = np.load(tmp_path / "made" / "pictures.npz")["images"]
    assert tensors.min() < -0.2


@pytest.fixture
def example():
    """The folder of the detector and the pictures that come with zqc."""
    folder = ROOT / "examples"
    if not (folder / "detector.onnx").is_file():
        pytest.skip("the example is not here")
    return folder


def test_the_example_at_four_bits(example, tmp_path):
    """Four pictures of the training scenes: all 63 layers on integer kernels, mAP not halved."""
    images = sorted((example / "scenes" / "training").glob("*.jpg"))[:4]
    (tmp_path / "pictures").mkdir()
    for image in images:
        (tmp_path / "pictures" / image.name).write_bytes(image.read_bytes())
    model = example / "detector.onnx"
    result = compile_model(
        model,
        tmp_path / "detector.w4a8.onnx",
        recipe=Recipe(bits=4),
        images=tmp_path / "pictures",
        threads=2,
    )
    assert (result.integer_layers, len(result.layers)) == (63, 63)
    assert result.bytes_after < result.bytes_before / 4
    labels = example / "scenes" / "heldout.json"
    known = {image["file_name"] for image in json.loads(labels.read_text())["images"]}
    heldout = example / "scenes" / "heldout"
    assert {image.name for image in heldout.iterdir()} <= known
    measured = check(model, result.output, images=heldout, labels=labels, limit=20, threads=2)
    assert measured.images == 20
    assert measured.accuracy_float.ap > 0.7
    assert measured.accuracy_quantized.ap > 0.6 * measured.accuracy_float.ap


def test_the_pictures_are_kept(detector_file, monkeypatch):
    """Compiling with other bits synthesises nothing, gives the same bytes, and says so."""

    def fails(*arguments, **options):
        pytest.fail("it synthesised again")

    given = {"samples": 4, "threads": 1}
    first = compile_model(detector_file, bits=8, **given)
    anew = compile_model(detector_file, bits=4, cache=False, **given)
    assert not first.cached
    assert not anew.cached
    monkeypatch.setattr(
        "zqc.commands.kept_pictures.synthesize", lambda *_, **__: pytest.fail("again")
    )
    again = compile_model(detector_file, bits=4, **given)
    assert again.cached
    assert again.content == anew.content
    assert str(again).count("; the pictures are from the cache") == 1
    assert "from the cache" not in str(anew)
