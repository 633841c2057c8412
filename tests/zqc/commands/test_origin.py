"""Statistics from elsewhere are those of the model's own values."""

import dataclasses

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from passes import FoldBatchNorm, MergeBranches
from tests import nets
from zqc.commands.origin import find_statistics
from zqc.errors import NoBatchNormError, StatisticsError
from zqc.model_io import model_file
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics, harvest
from zqc.statistics.card import Card, CardEntry, to_text
from zqc.statistics.correspondence import folded, layers_of

UNIT = InputFormat()


@pytest.fixture
def twin(detector_file):
    """The detector with BatchNorm, as it is loaded."""
    return model_file.load(detector_file).model


@pytest.fixture
def model(twin):
    """The detector as an exporter folds it: without BatchNorm, with other names."""
    copy = twin.clone()
    FoldBatchNorm()(copy)
    for node in copy.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.name = f"{value.name}_renamed"
    return copy


@pytest.fixture
def card_file(twin, tmp_path, rng):
    """Write a card of the twin with made-up numbers; arguments replace what it says."""

    def write(**changes):
        entries = tuple(
            CardEntry(
                layer,
                LayerStatistics(
                    layer.output, rng.normal(size=layer.channels), rng.uniform(1, 2, layer.channels)
                ),
                -1.0,
                1.0,
            )
            for layer in layers_of(folded(twin))
        )
        said = {"pictures": 64, "shape": (3, 16, 16), "input_format": UNIT, "entries": entries}
        path = tmp_path / "card.json"
        path.write_text(to_text(Card(**said | changes), written_by="0"))
        return path, entries

    return write


def test_own_batch_norm(twin):
    """Without a file they are harvested."""
    origin = find_statistics(twin)
    assert (origin.text, origin.input_format) == ("1 BatchNorm layer", None)
    assert origin.layers[0].output == harvest(twin)[0].output


def test_from_a_twin(model, twin, detector_file):
    """A folded model gets what its twin harvests, under its own names."""
    with pytest.raises(NoBatchNormError, match="--statistics"):
        find_statistics(model)
    origin = find_statistics(model, detector_file)
    (expected,), (found,) = harvest(twin), origin.layers
    assert found.output == f"{expected.output}_renamed"
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.deviation, expected.deviation)
    assert origin.text == f"1 of 1 BatchNorm layers of {detector_file}"


BRANCHES = """net (float[N, 3, 8, 8] x) => (float[N, 8, 8, 8] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, weight)
    large = BatchNormalization (a, scale, bias, mean, variance)
    b = Conv (x, point)
    small = BatchNormalization (b, scale, bias, mean, variance)
    both = Add (large, small)
    y = Relu (both)
}"""


def test_from_a_twin_whose_branches_were_merged(tmp_path, rng):
    """A re-parameterised model gets what is known of the sum; one with branches, of each."""
    path = tmp_path / "twin.onnx"
    point = rng.normal(size=(8, 3, 1, 1)).astype(np.float32)
    onnx.save(nets.model(BRANCHES, point=point, **nets.weights()), path)
    twin = model_file.load(path).model
    branches = twin.clone()
    FoldBatchNorm()(branches)
    merged = branches.clone()
    assert MergeBranches()(merged).modified
    expected = harvest(twin)
    assert [layer.output for layer in find_statistics(branches, path).layers] == ["large", "small"]
    (found,) = find_statistics(merged, path).layers
    assert found.output == "both"
    np.testing.assert_allclose(found.mean, sum(layer.mean for layer in expected))
    variance = sum(layer.deviation**2 for layer in expected)
    np.testing.assert_allclose(found.deviation, np.sqrt(variance))


def test_from_a_twin_of_open_size(model, tmp_path):
    """A twin that leaves its size open gets that of the model."""
    path = tmp_path / "twin.onnx"
    onnx.save(nets.detector(height="H", width="W"), path)
    assert len(find_statistics(model, path).layers) == 1


def test_from_a_card(model, card_file):
    """A folded model gets what the card says of every layer, under its own names."""
    path, entries = card_file()
    origin = find_statistics(model, path, input_format=UNIT)
    assert [layer.output for layer in origin.layers] == [
        f"{entry.layer.output}_renamed" for entry in entries
    ]
    for layer, entry in zip(origin.layers, entries, strict=True):
        np.testing.assert_allclose(layer.mean, entry.statistics.mean, atol=0.01)
        np.testing.assert_allclose(layer.deviation, entry.statistics.deviation, rtol=0.003)
    assert origin.text == f"3 of 3 layers of {path} (64 pictures)"
    assert origin.input_format == UNIT
    assert find_statistics(model, path).layers  # any convention will do where none is settled


def test_from_a_checkpoint(model, twin, detector_file, tmp_path):
    """A folded model gets what its twin harvests, whatever the names in the checkpoint."""
    arrays = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load(detector_file).graph.initializer
    }
    members = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
    state = {f"bn.{key}": torch.tensor(np.array(arrays[name])) for key, name in members.items()}
    state |= {f"aux.{key}": value[:4] for key, value in state.items()}
    state["conv.weight"] = torch.tensor(np.array(arrays["stem_weight"]))
    path = tmp_path / "net.anything"
    torch.save(state, path)
    origin = find_statistics(model, path)
    (expected,), (found,) = harvest(twin), origin.layers
    assert found.output == f"{expected.output}_renamed"
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(found.deviation, expected.deviation, rtol=1e-6)
    assert origin.text == f"1 of 2 BatchNorm layers of {path}; not matched: aux.bn"


def test_layers_that_a_card_has_beyond_the_model(model, card_file, twin, rng):
    """They are named, and the others used."""
    path, entries = card_file()
    strange = dataclasses.replace(entries[0].layer, output="strange", shape=(8, 1, 7, 7))
    path, _ = card_file(entries=(*entries, dataclasses.replace(entries[0], layer=strange)))
    origin = find_statistics(model, path)
    assert len(origin.layers) == 3
    assert origin.text == f"3 of 4 layers of {path}; not matched: strange (64 pictures)"


def test_a_card_of_other_pictures_is_refused(model, card_file):
    """Another input size or another convention is named, with what was expected."""
    path, _ = card_file(shape=(3, 32, 32))
    with pytest.raises(StatisticsError, match=r"pictures of 3x32x32, but .* 3x16x16"):
        find_statistics(model, path)
    path, _ = card_file(input_format=InputFormat.from_range(-1, 1))
    with pytest.raises(StatisticsError, match=r"RGB pixels as -1 to 1, .* RGB pixels as 0 to 1"):
        find_statistics(model, path, input_format=UNIT)
    path, _ = card_file(input_format=InputFormat(bgr=True))
    with pytest.raises(StatisticsError, match="BGR pixels"):
        find_statistics(model, path, input_format=UNIT)
    path, _ = card_file(input_format=InputFormat((0.0,) * 3, (1.0,) * 3))
    assert find_statistics(model, path, input_format=UNIT).layers  # the same, said otherwise


def test_statistics_of_another_network_are_refused(card_file, model, tmp_path):
    """A card and a twin of a network with other weights name the first layer that differs."""
    path, _ = card_file()
    other = tmp_path / "other.onnx"
    onnx.save(nets.detector(seed=1), other)
    with pytest.raises(StatisticsError, match=r"'normed' .* has other weights"):
        find_statistics(model_file.load(other).model, path)
    with pytest.raises(StatisticsError, match=r"'normed' .* of .*other.onnx has other weights"):
        find_statistics(model, other)


def test_a_twin_that_is_folded_too(model, tmp_path):
    """It has nothing to lend, and the message says so."""
    path = tmp_path / "folded.onnx"
    ir.save(model, path)
    with pytest.raises(NoBatchNormError, match=r"folded.onnx has no BatchNormalization either"):
        find_statistics(model, path)
