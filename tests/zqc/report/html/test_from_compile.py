"""The page of a compilation says what its result says."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from passes.arithmetic import Grid
from tests import nets
from zqc.calibration.histogram import add, empty
from zqc.commands.compile import CompileResult, compile_model
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy
from zqc.detection.pairing import Counts, Pairing
from zqc.detection.verdict import Verdict
from zqc.errors import OptionError, OutputError
from zqc.quantization.layer_facts import InputRange, LayerFacts
from zqc.report.html.from_compile import compiled_page, distribution
from zqc.report.html.render import render
from zqc.runtime.executed import FloatOperators, LayerReport
from zqc.statistics.input_choice import InputChoice

RESULT = CompileResult(
    verdict=Verdict("usable with care", "a reason", "zqc debug a b"),
    output=Path("out dir/detector.w4a8.onnx"),
    precision="w4a8",
    target="ort-x86",
    input_choice=InputChoice("-1:1", "given"),
    calibration="64 pictures",
    layers=(
        LayerReport("stem", "Conv", 8, 8, True),
        LayerReport("up", "ConvTranspose", 32, 8, False, "no integer kernel"),
    ),
    float_operators=(FloatOperators("HardSigmoid", ("s1", "s2"), "no kernel for it"),),
    agreement=(
        PartAgreement("boxes", "boxes", 40.0, 0.9999, 5000, 6000),
        PartAgreement("scores", "scores", 20.0, 0.5, 900, 6000),
        PartAgreement("kept", "raw", math.nan, math.nan, 0, 0, 0.75),
        PartAgreement("many", "raw", math.nan, math.nan, 0, 0, math.nan, "shapes differ"),
    ),
    bytes_before=12_500_000,
    bytes_after=2_000_000,
    latency_before_ms=30.0,
    latency_after_ms=10.0,
    post_processing=("Reshape flat",),
    first_last=("stem",),
    seconds=75.2,
    caution="calibrated with noise",
    not_compared=(("extra", "a map"),),
    source="models/detector.onnx",
    sha256="abc",
    recipe="bits = 4\n",
    losses=(1.0, 0.5),
    facts=(LayerFacts("stem", (-9, -7), -6, 0.25, 288),),
)


def test_what_a_page_says():
    """Tiles, outputs, layers, warnings and facts, each from its place in the result."""
    page = compiled_page(RESULT, given={"--images": Path("my photos"), "--no-statistics": True})
    assert (page.model, page.precision, page.target) == ("detector.onnx", "w4a8", "ort-x86")
    assert {tile.label: (tile.value, tile.before) for tile in page.tiles} == {
        "Size": ("2.00 MB", "12.50 MB"),
        "Latency": ("10 ms", "30 ms"),
        "Boxes": ("40.0 dB", ""),
        "Scores": ("20.0 dB", ""),
        "Integer layers": ("1/2", ""),
    }
    assert page.tiles[0].share == 0.16
    boxes, scores, kept, many, extra = page.parts
    assert (boxes.sqnr_db, scores.distinct, kept.equal) == (40.0, 900, 0.75)
    assert math.isnan(boxes.distinct)
    assert (many.note, extra.note) == ("not compared: shapes differ", "not compared: a map")
    stem, up = page.layers
    assert (stem.weight_exponents, stem.act_exponent, stem.clipped) == ((-9, -7), -6, 0.25)
    assert (stem.bytes, up.reason) == (288, "no integer kernel")
    assert math.isnan(up.bytes)
    assert page.warnings == ("Calibrated with noise",)
    assert (page.verdict.word, page.verdict.reason) == ("usable with care", "A reason.")
    assert page.verdict.command == "zqc debug a b"
    assert page.calibration.losses == (1.0, 0.5)
    assert dict(page.facts)["SHA-256 of the source"] == "abc"
    assert page.command == (
        "zqc compile models/detector.onnx --recipe 'out dir/detector.w4a8.onnx' "
        "--images 'my photos' --no-statistics"
    )
    labelled = compiled_page(RESULT, given={"--images": Path("a"), "--labels": Path("a.json")})
    assert labelled.command.startswith("zqc tune models/detector.onnx --recipe ")
    assert labelled.command.endswith("--images a --labels a.json")
    render(page)


def test_how_detections_agree():
    """Agreement and kept boxes are tiles, where there are detections; none of no boxes."""
    counts = Counts(10, 8, 2, 0, 1, 0, 0.9, 0.0, 0.0)
    pairing = Pairing(0.3, False, counts, 0.3, counts, (), ())
    result = dataclasses.replace(RESULT, detections=Accuracy(0.75, 0.9), pairing=pairing)
    tiles = {tile.label: tile.value for tile in compiled_page(result).tiles}
    assert (tiles["Agreement"], tiles["Boxes kept"]) == ("75.0 %", "8/10")
    none = dataclasses.replace(pairing, counts=dataclasses.replace(counts, float_boxes=0))
    tiles = compiled_page(dataclasses.replace(result, detections=None, pairing=none)).tiles
    assert not {"Agreement", "Boxes kept"} & {tile.label for tile in tiles}


def test_a_model_in_memory():
    """There is no command that would make the same from it."""
    page = compiled_page(dataclasses.replace(RESULT, source="", output=None))
    assert (page.model, page.command) == ("model in memory", "")


def test_targets_elsewhere():
    """Nothing was timed, and layers are those that the target's rules quantize."""
    nan = math.nan
    result = dataclasses.replace(
        RESULT, kernels="elsewhere", latency_before_ms=nan, latency_after_ms=nan
    )
    labels = [tile.label for tile in compiled_page(result).tiles]
    assert labels == ["Size", "Boxes", "Scores", "Quantized layers"]


def test_a_distribution():
    """Few bins hold all values, from the least to the largest one, and the grid's ends."""
    values = np.linspace(-0.5, 3.0, 1000, dtype=np.float32)
    found = distribution("a", InputRange(add(empty(), values), Grid(1, 8, signed=False)))
    assert sum(found.counts) == 1000
    assert len(found.counts) == len(found.edges) - 1 <= 64
    assert found.edges[0] <= -0.5 < found.edges[1]
    assert found.edges[-2] < 3.0 <= found.edges[-1]
    assert (found.low, found.high) == (0.0, 2 - 1 / 128)
    counts, _ = np.histogram(values, np.array(found.edges))
    assert np.abs(counts - found.counts).max() <= 1  # of a value on an edge
    nothing = distribution("a", InputRange(empty(), Grid(1, 8, signed=False)))
    assert sum(nothing.counts) == 0


def test_the_worst_ranges_are_shown():
    """The tensors that are cut off most come first, each once, and none that is whole."""
    grid = Grid(0, 8, signed=False)
    much, some, none = (
        add(empty(), np.array(values, np.float32))
        for values in ([0.5, 9, 9], [0.5, 0.5, 9], [0.5, 0.5])
    )
    found = {"a": some, "b": much, "c": much, "d": none}
    ranges = {name: InputRange(histogram, grid) for name, histogram in found.items()}
    page = compiled_page(RESULT, ranges=ranges)
    assert [each.name for each in page.distributions] == ["b", "a"]


def test_a_compilation_writes_its_report(tmp_path):
    """The file has the model's layers, pictures, the loss and the recipe."""
    report = tmp_path / "report.html"
    result = compile_model(
        nets.detector(), report=report, effort="quick", samples=2, bits=4, threads=1
    )
    html = report.read_text(encoding="utf-8")
    assert all(f'title="{layer.name}"' in html for layer in result.layers)
    assert html.count('alt="Calibration picture') == 2
    assert "loss of the whole set" in html
    assert result.recipe.splitlines()[0] in html
    assert len(result.facts) == len(result.layers)
    assert len(result.losses) > 2


def test_a_report_that_cannot_be_written(tmp_path):
    """It is refused before anything is done: no picture, no model."""
    model = tmp_path / "model.onnx"
    model.write_bytes(nets.detector().SerializeToString())
    with pytest.raises(OutputError, match="does not exist; make it first"):
        compile_model(model, report=tmp_path / "missing" / "report.html")
    with pytest.raises(OptionError, match="is the input"):
        compile_model(model, report=model)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]


def test_channels_that_are_no_colours(tmp_path):
    """Calibration tensors of two channels cannot be shown, and the report does without."""
    tensors = np.random.default_rng(0).uniform(0, 1, (2, 2, 16, 16)).astype(np.float32)
    report = tmp_path / "report.html"
    compile_model(nets.detector(channels=2), images=tensors, report=report, threads=1)
    html = report.read_text(encoding="utf-8")
    assert "Calibration pictures" in html
    assert "<img" not in html
