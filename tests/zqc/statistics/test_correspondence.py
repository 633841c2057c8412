"""Layers are recognised by their weights, under any name and in any exporter's folding."""

import numpy as np
import onnx_ir as ir
import onnxsim
import pytest

from passes.graph import with_outputs
from tests.nets import random_norms
from tests.passes.helpers import build_model, run_model
from zqc.errors import StatisticsError
from zqc.statistics.correspondence import Fingerprint, corresponding, folded, layers_of

NET = """(float[2,3,9,8] x) => (float[a,b,c,d] y, float[e,f] z) {
    c1 = Conv(x, w1)
    n1 = BatchNormalization(c1, g1, b1, m1, v1)
    r1 = Relu(n1)
    c2 = ConvTranspose<group=2>(r1, w2)
    a2 = Add(c2, extra)
    n2 = BatchNormalization(a2, g2, b2, m2, v2)
    left = Conv(n2, shared, bias)
    right = Conv(r1, shared, bias)
    y = Add(left, left)
    p = GlobalAveragePool(right)
    flat = Flatten(p)
    z = Gemm(flat, dense)
    s = Softmax<axis=1>(right)
    expected = Conv(s, bins)
}"""


def net(seed=0):
    """Conv and ConvTranspose with BatchNorm, two Convs that share their weights, Gemm, and DFL."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w1": rng.normal(size=(6, 3, 3, 3)),
        "w2": rng.normal(size=(6, 3, 1, 1)),
        "extra": rng.normal(size=(1, 6, 1, 1)),
        "shared": rng.normal(size=(5, 6, 1, 1)),
        "bias": rng.normal(size=5),
        "dense": rng.normal(size=(5, 4)),
        "bins": np.arange(5.0).reshape(1, 5, 1, 1),
    }
    arrays |= random_norms(rng, "12", (0.1, 9))
    typed = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    model = build_model(NET, opset=17, **typed)
    model.graph.outputs.append(
        next(v for n in model.graph for v in n.outputs if v.name == "expected")
    )
    return model


def folded_elsewhere(model):
    """Fold with onnxsim, which keeps other names than zqc's passes do."""
    simplified, _ = onnxsim.simplify(ir.to_proto(model))
    return ir.from_proto(simplified)


def test_layers_of_a_folded_network():
    """Outputs have the names of what was folded in; expectations over bins are no layers."""
    layers = layers_of(folded(net()))
    assert [(x.output, x.operator, x.shape, x.channels) for x in layers] == [
        ("n1", "Conv", (6, 3, 3, 3), 6),
        ("n2", "ConvTranspose", (6, 3, 1, 1), 6),
        ("left", "Conv", (5, 6, 1, 1), 5),
        ("right", "Conv", (5, 6, 1, 1), 5),
        ("z", "Gemm", (4, 5), 4),
    ]


def test_the_same_values_in_another_folding(rng):
    """Found in what onnxsim folded, under whatever names: the values are equal."""
    model = net()
    other = folded_elsewhere(model)
    assert sum(node.op_type == "BatchNormalization" for node in other.graph) < 2
    ours, theirs = layers_of(folded(other)), layers_of(folded(model))
    names = corresponding(theirs, ours, "twin")
    assert list(names) != [layer.output for layer in theirs]
    x = rng.normal(size=(2, 3, 9, 8)).astype(np.float32)
    expected = run_model(with_outputs(model, [layer.output for layer in theirs]), x=x)
    found = run_model(with_outputs(other, names), x=x)
    for layer, name in zip(theirs, names, strict=True):
        np.testing.assert_allclose(found[name], expected[layer.output], rtol=1e-3, atol=1e-3)


def test_equal_weights_go_by_name_then_by_order():
    """Layers that share weights are told apart by name, and by order where names are lost."""
    left, right = layers_of(folded(net()))[2:4]
    assert corresponding([left, right], [right, left], "card") == ("left", "right")
    renamed = [_called(layer, name) for layer, name in ((left, "a"), (right, "b"))]
    assert corresponding([left, right], renamed, "card") == ("a", "b")


def _called(layer, name):
    return type(layer)(**{**vars(layer), "output": name})


def test_another_network_is_refused():
    """Other weights and other shapes: the first layer is named."""
    theirs, ours = layers_of(folded(net(0))), layers_of(folded(net(1)))
    with pytest.raises(StatisticsError, match=r"'n1' \(Conv 6x3x3x3\) of card.json has other weig"):
        corresponding(theirs, ours, "card.json")
    with pytest.raises(StatisticsError, match=r"'left' \(Conv 5x6x1x1\) of card.json does not ex"):
        corresponding(theirs[2:], theirs[:2], "card.json")
    with pytest.raises(StatisticsError, match=r"'n1' .* is 'n1' \(ConvTranspose 6x3x1x1\) in the"):
        corresponding(theirs[:1], [_called(theirs[1], "n1")], "card.json")
    with pytest.raises(StatisticsError, match="other weights"):  # one is taken already
        corresponding([theirs[2], theirs[2]], theirs[2:3], "card.json")


def test_some_layers_may_be_left_over():
    """What the model does not have, such as heads for training, has no counterpart."""
    theirs = layers_of(folded(net()))
    assert corresponding(theirs, theirs[:2], "twin") == ("n1", "n2", None, None, None)
    other = layers_of(folded(net(1)))
    mixed = [other[0], *theirs[1:]]  # one of five was trained further
    assert corresponding(mixed, theirs, "twin") == (None, "n2", "left", "right", "z")


@pytest.mark.parametrize(("share", "same"), [(1e-5, True), (1e-4, True), (0.01, False)])
def test_fingerprints_tell_training_from_rounding(rng, share, same):
    """Noise of rounding passes; a change of one percent, of whatever weights, does not."""
    for size in (9, 1000, 100_000):
        weights = rng.normal(size=size)
        noise = rng.normal(size=size)
        moved = weights + share * noise * np.linalg.norm(weights) / np.linalg.norm(noise)
        assert Fingerprint.of(weights).is_near(Fingerprint.of(moved)) == same
