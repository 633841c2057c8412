"""What ``zqc compile`` ends with: a verdict, and the command that helps most."""

import shlex

import numpy as np
import pytest

from tests.zqc.commands.small_detectors import write_patches
from zqc import pipeline
from zqc.cli.main import cli
from zqc.commands.compile import compile_model
from zqc.commands.read_recipe import read_recipe
from zqc.errors import RuntimeFailure
from zqc.pictures.input_format import InputFormat

COARSE = {"act_bits": 4, "first_last_bits": 4}
QUICK = {"samples": 2, "threads": 1}


@pytest.fixture
def tried(monkeypatch):
    """The bits that weights were tried with."""
    bits, real = [], pipeline.with_other_bits

    def recorded(*arguments):
        bits.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(pipeline, "with_other_bits", recorded)
    return bits


def words(line):
    """The words of a command line, which ``zqc`` can parse."""
    _, command, *rest = shlex.split(line)
    cli.commands[command].make_context(command, list(rest))
    return [command, *rest]


@pytest.mark.exact_kernels
def test_a_good_model_is_to_be_looked_at_on_real_pictures(detector_file, tried):
    """The verdict is the first line; nothing else is tried."""
    result = compile_model(detector_file, **QUICK)
    assert result.verdict.word == "good"
    files = [str(detector_file), str(result.output)]
    assert words(result.verdict.advice) == ["check", *files, "--images", "DIR"]
    first, second, *_ = str(result).splitlines()
    assert first == f"Verdict          good: {result.verdict.reason}"
    assert second == f"Next             {result.verdict.advice}"
    assert "Warning" not in str(result)
    assert tried == []


def test_real_pictures_were_looked_at(detector_file, rng, tried):
    """Calibrated with pictures of one's own, a good model needs nothing more."""
    images = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
    result = compile_model(detector_file, images=images, threads=1)
    assert (result.verdict.word, result.verdict.advice, tried) == ("good", "", [])


@pytest.mark.parametrize(("bits", "expected"), [(2, [8]), (8, [])])
def test_more_bits_are_tried_where_there_are_fewer(detector_file, tried, bits, expected):
    """Once, where the verdict is not good; what does not help is not advised."""
    result = compile_model(detector_file, bits=bits, **COARSE, **QUICK)
    assert result.verdict.word == "broken"
    assert "distinct values" in result.verdict.reason
    assert tried == expected
    advised = words(result.verdict.advice)
    assert advised[:2] == ["compile", str(detector_file)]
    assert not {"--act-bits", "--first-last-bits"} & set(advised)


def test_what_helped_is_advised(detector_file, monkeypatch):
    """Where 8-bit weights make it good, ``sensitivity`` names the layers that need them."""
    fine = compile_model(detector_file, **QUICK).agreement
    real = pipeline.with_other_bits

    def better(*arguments):
        outcome = real(*arguments)
        return type(outcome)(outcome.candidate, outcome.written, fine, outcome.bits_of)

    monkeypatch.setattr(pipeline, "with_other_bits", better)
    result = compile_model(detector_file, bits=2, **COARSE, **QUICK)
    advised = words(result.verdict.advice)
    assert advised[:2] == ["sensitivity", str(detector_file)]
    assert advised[advised.index("--bits") + 1] == "2"
    assert read_recipe(result.output).bits == 2  # what was asked for is what is written


def test_noise_is_to_be_replaced(detector_file):
    """Without statistics the first thing to try are pictures."""
    result = compile_model(detector_file, no_statistics=True, bits=2, **COARSE, **QUICK)
    advised = words(result.verdict.advice)
    assert advised[:4] == ["compile", str(detector_file), "--images", "DIR"]


def test_an_assumed_format_is_not_kept(tmp_path, detector_file):
    """The file says how pixels become values where that is known; else only their order."""
    form = InputFormat.from_range(-1, 1)
    known = compile_model(detector_file, tmp_path / "a.onnx", input_format=form, **QUICK)
    assert read_recipe(known.output).input_format == form
    folded = write_patches(tmp_path / "folded.onnx")  # without statistics to find it from
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    assumed = compile_model(folded, images=pixels, input_format="BGR", threads=1)
    assert assumed.input_choice.origin == "assumed"
    assert read_recipe(assumed.output).input_format == "BGR"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeFailure])
def test_what_fails_in_the_verdict_loses_nothing(detector_file, monkeypatch, error):
    """The model is there by then, whole, whatever happens while it is judged."""
    reference = compile_model(detector_file, **QUICK)
    reference.output.unlink()

    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("zqc.commands.compile.judge_compiled", fails)
    with pytest.raises(error):
        compile_model(detector_file, **QUICK)
    assert reference.output.read_bytes() == reference.content
