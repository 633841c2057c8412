"""Which layers suffer from quantization, and what to do."""

import contextlib

import onnx
import pytest

from tests.diagnosed import LAYERS, RANGE, proto, tensors
from zqc.commands import compile as compiler
from zqc.commands import sensitivity as command
from zqc.commands.compile import compile_model
from zqc.commands.sensitivity import cache_path, sensitivity
from zqc.errors import OptionError
from zqc.progress import Silent

COMMON = {
    "images": tensors(),
    "input_format": RANGE,
    "threads": 1,
    "weight_levels": "uniform",  # what looks others up is large beside so small a net
}
OPTIONS = {**COMMON, "jobs": 1}


@pytest.fixture(scope="module")
def found():
    """The layers of the net at 4 bits, with room for all of them."""
    return sensitivity(proto(), bits=4, budget=0.5, **OPTIONS)


def test_every_layer_is_there(found):
    """In graph order, with its bits, its grids and what it puts out."""
    assert tuple(layer.name for layer in found.layers) == LAYERS
    deep = found.layers[2]
    assert (deep.op_type, deep.weights, deep.weight_bits, deep.act_bits) == ("Conv", 1152, 4, 8)
    assert deep.spared_bits == 8
    assert 0 <= deep.clipped < 0.01
    assert deep.histogram.counts
    assert deep.weight_exponents[0] <= deep.weight_exponents[1]
    assert deep.output_exponent is not None


def test_harm_adds_up(found):
    """The last cumulative effect is that of all layers, and each alone harms less than all."""
    assert found.layers[-1].cumulative == found.everything
    for layer in found.layers:
        assert layer.alone.error < 2 * found.everything.error
    alone = sum(layer.alone.error for layer in found.layers)
    assert found.everything.error / 5 < alone < 5 * found.everything.error
    assert found.ranked[0].alone.error == max(layer.alone.error for layer in found.layers)


def test_gains_are_those_of_the_outputs(found):
    """With this layer at 8 bits, less without."""
    for layer in found.layers:
        gain = layer.restored.boxes_db - found.everything.boxes_db
        assert layer.gain_boxes_db == pytest.approx(gain)


@pytest.mark.exact_kernels
def test_what_is_suggested_comes_true(found, tmp_path, monkeypatch):
    """The options make a file of the size and the agreement that were measured."""
    suggestion = found.suggestion
    assert suggestion.layers
    assert suggestion.bits == 8
    assert suggestion.measured.error < suggestion.before.error
    assert suggestion.measured.boxes_db == pytest.approx(suggestion.predicted.boxes_db, abs=0.2)
    assert suggestion.measured.scores_db == pytest.approx(suggestion.predicted.scores_db, abs=0.2)
    monkeypatch.setattr(compiler, "median_latencies", lambda *_: [2.0, 1.0])
    bits_of = dict.fromkeys(suggestion.layers, 8)
    path = tmp_path / "model.onnx"
    onnx.save(proto(), path)
    result = compile_model(path, bits=4, bits_of=bits_of, **COMMON)
    parts = {part.kind: part.sqnr_db for part in result.agreement}
    assert parts["boxes"] == pytest.approx(suggestion.measured.boxes_db, abs=1e-6)
    assert parts["scores"] == pytest.approx(suggestion.measured.scores_db, abs=1e-6)
    growth = suggestion.bytes_after - suggestion.bytes_before
    plain = compile_model(path, tmp_path / "plain.onnx", bits=4, **COMMON)
    assert abs(result.bytes_after - plain.bytes_after - growth) < 200  # the recipes in the files


def test_the_size_is_predicted_to_a_few_bytes(found):
    """From few files that were made."""
    suggestion = found.suggestion
    growth = suggestion.bytes_after - suggestion.bytes_before
    assert suggestion.extra_bytes == pytest.approx(growth, abs=64)
    assert suggestion.extra_bytes <= found.budget


def test_the_command_is_ready_for_a_shell(found):
    """With the options of the call, and those that spare layers."""
    command_line = found.suggestion.command
    assert command_line.startswith(
        "zqc compile MODEL --images DIR --bits 4 --weight-levels uniform --input-range=0:1 "
    )
    for layer in found.suggestion.layers:
        assert f"--bits-of {layer}=8" in command_line


def test_layers_of_8_bits_are_spared_in_float():
    """Where none has fewer."""
    result = sensitivity(proto(), bits=8, budget=5.0, **OPTIONS)
    assert all(layer.spared_bits == 32 for layer in result.layers)
    assert result.suggestion.bits in (0, 32)
    assert all("--keep-float" in option for option in result.suggestion.options)


def test_a_small_budget_spares_nothing():
    """Not a layer fits into a hundredth of a percent."""
    result = sensitivity(proto(), bits=4, budget=1e-4, **OPTIONS)
    assert result.suggestion.layers == ()
    assert result.steps == ()
    assert result.suggestion.measured == result.suggestion.before
    with pytest.raises(OptionError, match="budget is 0"):
        sensitivity(proto(), bits=4, budget=0.0, **OPTIONS)


class Interrupted(Silent):
    """Ctrl-C after some evaluations."""

    class Task:
        """Counts to five."""

        steps = 0

        def advance(self, note="", steps=1):
            """Interrupt the sixth evaluation."""
            self.steps += steps
            if self.steps > 5:
                raise KeyboardInterrupt

    def task(self, name, total):
        """Interrupt the evaluations only."""
        if name == "Evaluating layers":
            return contextlib.nullcontext(self.Task())
        return super().task(name, total)


def test_an_interruption_costs_nothing(tmp_path, found, monkeypatch):
    """What was evaluated is kept beside the model until all is done, and not done again."""
    path = tmp_path / "model.onnx"
    onnx.save(proto(), path)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(path, bits=4, budget=0.5, progress=Interrupted(), **OPTIONS)
    kept = tmp_path / "model.sensitivity.jsonl"
    before = len(kept.read_text().splitlines())
    assert before >= 6
    evaluations = []
    bench_effect = command.Bench.effect

    def counted(self, model):
        evaluations.append(1)
        return bench_effect(self, model)

    monkeypatch.setattr(command.Bench, "effect", counted)
    result = sensitivity(path, bits=4, budget=0.5, resume=True, **OPTIONS)
    assert not kept.exists()
    total = 1 + 4 * len(LAYERS) + len(result.steps)
    assert len(evaluations) <= total - (before - 1)
    assert repr(result.layers) == repr(found.layers)


def test_a_cache_that_is_asked_for_stays(tmp_path, found):
    """And makes the next call quick."""
    kept = tmp_path / "kept.jsonl"
    result = sensitivity(proto(), bits=4, budget=0.5, cache=kept, **OPTIONS)
    assert result.cache == kept
    assert kept.exists()
    again = sensitivity(proto(), bits=4, budget=0.5, cache=kept, resume=True, **OPTIONS)
    assert repr(again.layers) == repr(result.layers) == repr(found.layers)
    assert repr(again.steps) == repr(found.steps)


def test_the_cache_stands_beside_the_model(tmp_path):
    """A model in memory has none unless it is asked for."""
    assert cache_path(tmp_path / "a.onnx", None) == tmp_path / "a.sensitivity.jsonl"
    assert cache_path(proto(), None) is None
    assert cache_path(proto(), tmp_path / "x") == tmp_path / "x"
