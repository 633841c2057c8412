"""BatchNorm layers of a file are found in a model, and give what the model's own would."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from passes import FoldBatchNorm
from tests.nets import random_norms
from tests.passes.helpers import build_model
from tests.zqc.statistics import darknet_files
from zqc.model_io import model_file
from zqc.statistics.batchnorm import harvest
from zqc.statistics.files.darknet import read_darknet
from zqc.statistics.files.weights import Weights
from zqc.statistics.lending import lend

NET = """(float[2,3,9,8] x) => (float[a,b,c,d] y, float[e,f] z) {
    c1 = Conv(x, w1)
    n1 = BatchNormalization<epsilon=0.001>(c1, g1, b1, m1, v1)
    r1 = Relu(n1)
    c2 = ConvTranspose<group=2>(r1, w2)
    n2 = BatchNormalization<epsilon=0.001>(c2, g2, b2, m2, v2)
    r2 = Relu(n2)
    c3 = Conv<group=6>(r2, w3, extra)
    n3 = BatchNormalization<epsilon=0.001>(c3, g3, b3, m3, v3)
    r3 = Relu(n3)
    n4 = BatchNormalization<epsilon=0.001>(r3, g4, b4, m4, v4)
    r4 = Relu(n4)
    y = Conv(r4, last, bias)
    p = GlobalAveragePool(r4)
    flat = Flatten(p)
    z = Gemm(flat, dense)
}"""
LAYERS = {"w1": "a.conv", "w2": "b.up", "w3": "c.conv", "last": "head"}


def network(seed=0):
    """Conv, grouped ConvTranspose, depthwise Conv with a bias, and a BatchNorm behind an act."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w1": rng.normal(size=(6, 3, 3, 3)),
        "w2": rng.normal(size=(6, 3, 2, 2)),
        "w3": rng.normal(size=(6, 1, 3, 3)),
        "extra": rng.normal(size=6),
        "last": rng.normal(size=(5, 6, 1, 1)),
        "bias": rng.normal(size=5),
        "dense": rng.normal(size=(6, 4)),
    }
    arrays |= random_norms(rng, "1234", (0.01, 4))
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def weights_of(arrays, kind=np.float32):
    """What PyTorch would keep of it, under its names."""
    found = {}
    for name, layer in LAYERS.items():
        found[f"{layer}.weight"] = arrays[name]
        index = name[-1]
        if index.isdigit():
            found |= norm(arrays, index, f"{layer.split('.')[0]}.bn")
    found |= norm(arrays, "4", "d.bn")
    found["c.conv.bias"], found["head.bias"] = arrays["extra"], arrays["bias"]
    found["dense.weight"] = arrays["dense"].T
    return Weights({name: array.astype(kind).astype(np.float32) for name, array in found.items()})


def norm(arrays, index, name):
    """The four arrays of a BatchNorm."""
    members = {"g": "weight", "b": "bias", "m": "running_mean", "v": "running_var"}
    return {f"{name}.{member}": arrays[letter + index] for letter, member in members.items()}


def folded_copy(model):
    """The model as an exporter folds it, under names of its own."""
    copy = model.clone()
    FoldBatchNorm(backwards=False)(copy)
    for node in copy.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.name = f"{value.name}_renamed"
    return copy


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("fold", [True, False])
def test_what_the_model_harvests(kind, fold):
    """Of every kind of layer, from float32 and float16, with a folded model and a plain one."""
    arrays = network()
    model = build_model(NET, opset=17, **arrays)
    expected = harvest(model)
    lent = lend(weights_of(arrays, kind), folded_copy(model) if fold else model)
    assert (lent.used, lent.unused) == (("a.bn", "b.bn", "c.bn", "d.bn"), ())
    assert len(lent.layers) == 4
    for found, layer in zip(lent.layers, expected, strict=True):
        assert found.output.removesuffix("_renamed") == layer.output
        tolerance = 1e-6 if kind is np.float32 else 2e-3
        np.testing.assert_allclose(found.mean, layer.mean, rtol=tolerance, atol=tolerance / 10)
        np.testing.assert_allclose(found.deviation, layer.deviation, rtol=tolerance)


def test_layers_that_the_model_does_not_have():
    """They are named; the others are used."""
    arrays = network()
    other = {f"aux.{name}": array for name, array in weights_of(network(1)).arrays.items()}
    weights = Weights(weights_of(arrays).arrays | other)
    lent = lend(weights, folded_copy(build_model(NET, opset=17, **arrays)))
    assert lent.used == ("a.bn", "b.bn", "c.bn", "d.bn")
    assert lent.unused == ("aux.a.bn", "aux.b.bn", "aux.c.bn", "aux.d.bn")
    assert lent.contradicted == ()


def test_damaged_layers_are_named():
    """A BatchNorm with a variance that is no number is one of the file that was not used."""
    arrays = network()
    model = folded_copy(build_model(NET, opset=17, **arrays))
    weights = weights_of(arrays)
    broken = {"b.bn.running_var": np.full_like(weights.arrays["b.bn.running_var"], np.nan)}
    lent = lend(Weights(weights.arrays | broken), model)
    assert lent.used == ("a.bn", "c.bn", "d.bn")
    assert lent.unused == ("b.bn (damaged)",)


def test_equal_layers_go_by_their_place():
    """Where statistics cannot tell BatchNorm layers apart, each is that beside its weights."""
    arrays = network()
    for index in "123":
        arrays |= {"g" + index: np.ones(6, np.float32), "v" + index: np.ones(6, np.float32)}
        arrays |= {k + index: np.zeros(6, np.float32) for k in "bm"}
    arrays["extra"] = np.zeros(6, np.float32)
    lent = lend(weights_of(arrays), folded_copy(build_model(NET, opset=17, **arrays)))
    assert lent.used == ("a.bn", "b.bn", "c.bn", "d.bn")


@pytest.mark.parametrize("letter", ["g", "b", "m", "v"])
def test_other_statistics_behind_the_same_weights(letter):
    """Frozen weights with BatchNorm that went on changing are a contradiction, not a match."""
    arrays = network()
    model = folded_copy(build_model(NET, opset=17, **arrays))
    later = arrays | {letter + index: arrays[letter + index] * 1.1 for index in "123"}
    lent = lend(weights_of(later), model)
    assert lent.used == ("d.bn",)
    assert lent.contradicted == ("a.bn", "b.bn", "c.bn")


def test_another_network():
    """Nothing of it is found, and nothing contradicts."""
    model = folded_copy(build_model(NET, opset=17, **network()))
    lent = lend(weights_of(network(1)), model)
    assert (lent.layers, lent.used, lent.contradicted) == ((), (), ())


def test_a_darknet_file_of_a_real_network(real_models, tmp_path):
    """YOLOv3-tiny, folded, gets from its Darknet file what its twin harvests."""
    source = real_models / "yolov3tiny_coco_bn.onnx"
    darknet_files.write(onnx.load(source), tmp_path / "tiny.weights", darknet_files.TINY)
    model = ir.load(source)
    expected = {layer.output: layer for layer in harvest(model)}
    folded = model_file.load(ir.to_proto(folded_copy(model))).model
    lent = lend(read_darknet(tmp_path / "tiny.weights"), folded)
    assert (len(lent.used), len(lent.layers), lent.unused) == (11, 11, ())
    for found in lent.layers:
        layer = expected[found.output.removesuffix("_renamed")]
        np.testing.assert_allclose(found.mean, layer.mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.deviation, layer.deviation, rtol=1e-4, atol=1e-6)
