"""The summaries say what happened, honestly, and fit a terminal as well as a pipe."""

import dataclasses
import math
from pathlib import Path

import pytest
from rich.text import Text

from zqc.commands.compile import CompileResult
from zqc.commands.stats import StatsResult
from zqc.commands.synthesize import SynthesisResult
from zqc.detection.agreement import PartAgreement
from zqc.detection.verdict import Verdict
from zqc.report import text
from zqc.runtime.executed import FloatOperators, LayerReport
from zqc.statistics.input_choice import InputChoice

BOXES = PartAgreement("boxes", "boxes", 40.0, 0.9999, 5000, 6000)
SCORES = PartAgreement("scores", "scores", 20.0, 0.98, 900, 6000)

GIVEN = InputChoice("-1:1", "given")

RESULT = CompileResult(
    verdict=Verdict("good", "its detections agree"),
    output=Path("out/detector.w4a8.onnx"),
    precision="w4a8",
    target="ort-x86",
    input_choice=GIVEN,
    calibration="64 pictures synthesised from 57 BatchNorm layers",
    layers=(
        LayerReport("stem", "Conv", 8, 8, True),
        LayerReport("body", "Conv", 4, 8, True),
        LayerReport("up1", "ConvTranspose", 4, 8, False, "no integer kernel"),
        LayerReport("up2", "ConvTranspose", 4, 8, False, "no integer kernel"),
        LayerReport("head", "Conv", 8, 8, True),
    ),
    float_operators=(FloatOperators("HardSigmoid", ("s1", "s2"), "no integer kernel for it"),),
    agreement=(BOXES, SCORES),
    bytes_before=12_500_000,
    bytes_after=2_000_000,
    latency_before_ms=30.0,
    latency_after_ms=10.0,
    post_processing=("Reshape flat",),
    first_last=("stem", "head"),
    seconds=75.2,
)


def lines(text):
    """The lines of a summary, by label."""
    found = {}
    for line in text.plain.splitlines():
        label, value = line[:17].strip(), line[17:]
        found.setdefault(label, []).append(value)
    return found


def test_compiled():
    """Source of the data, layers, what stays float, sizes, latencies, agreement and the file."""
    found = lines(text.compiled(RESULT))
    assert found == {
        "Verdict": ["good: its detections agree"],
        "Input": ["-1:1"],
        "Calibration": ["64 pictures synthesised from 57 BatchNorm layers"],
        "Precision": ["w4a8 for ort-x86; first and last layers at 8 bits: stem, head"],
        "Integer kernels": ["3/5 layers"],
        "Stays float": [
            "2 ConvTranspose: no integer kernel (up1, up2)",
            "2 HardSigmoid: no integer kernel for it (s1, s2)",
            "post-processing, which begins at Reshape flat",
        ],
        "Size": ["12.50 MB → 2.00 MB (0.160 of the float model)"],
        "Latency": ["30 ms → 10 ms (3.00 times as fast); one picture, one thread"],
        "Agreement": [
            "boxes: SQNR 40.0 dB, correlation 0.9999",
            "scores: SQNR 20.0 dB, correlation 0.9800, 900 distinct values (float 6,000)",
        ],
        "Written": ["out/detector.w4a8.onnx in 1 min 15 s"],
    }


def test_compiled_for_other_machines():
    """Layers are counted by the rules for ARM, or by those of a target that runs elsewhere."""
    result = dataclasses.replace(RESULT, latency_before_ms=math.nan, latency_after_ms=math.nan)
    found = lines(text.compiled(dataclasses.replace(result, kernels="arm")))
    assert found["Integer kernels"] == ["3/5 layers, by the rules of ONNX Runtime for ARM"]
    assert found["Latency"] == ["not measured: the target's kernels are not on this machine"]
    kept = LayerReport("kept", "Conv", 32, 8, False, "kept by --keep-float")
    result = dataclasses.replace(result, kernels="elsewhere", layers=(*RESULT.layers, kept))
    found = lines(text.compiled(result))
    assert "Integer kernels" not in found
    assert found["Quantized layers"] == [
        "3/6; loaded and compared here, the target's kernels are elsewhere"
    ]
    assert found["Stays float"] == [
        "2 ConvTranspose: no integer kernel (up1, up2)",
        "1 Conv: kept by --keep-float (kept)",
        "2 HardSigmoid: no integer kernel for it (s1, s2)",
        "post-processing, which begins at Reshape flat",
    ]


def test_chosen_bits():
    """Where bits were chosen by layer, a line says how many layers have how many, float first."""
    layers = (*RESULT.layers, LayerReport("last", "Conv", 32, 8, False, "the target allows it"))
    result = dataclasses.replace(RESULT, layers=layers, bits_chosen=True)
    assert lines(text.compiled(result))["Bits by layer"] == [
        "float in 1 (last); 8 in 2 (stem, head); 4 in 3 (body, up1, up2)"
    ]


def test_bits_of_activations():
    """How many tensors have more or fewer bits, which, and what all have on average."""
    bits = {"a": 6, "b": 3, "c": 6}
    more = {"activation_bits": bits, "average_bits": 5.88, "activation_room": 0.03}
    assert lines(text.compiled(dataclasses.replace(RESULT, **more)))["Activations"] == [
        "6 in 2 (a, c); 3 in 1 (b); 5.9 bits on average, at most 3% more than with --uniform-bits"
    ]
    assert "Activations" not in lines(text.compiled(RESULT))


@pytest.mark.parametrize(
    ("left", "weights", "said"),
    [
        (0.614, True, "learned; the error on pictures held out fell to 61%"),
        (0.614, False, "biases learned; the error on pictures held out fell to 61%"),
        (1.0, True, "as rounded: learning has found none better"),
    ],
)
def test_what_learning_was_worth(left, weights, said):
    """What is left of the error, or that nothing was gained; no line without learning."""
    result = dataclasses.replace(RESULT, learned=left, weights_learned=weights)
    assert lines(text.compiled(result))["Weights"] == [said]
    assert "Weights" not in lines(text.compiled(RESULT))


def test_the_verdict_comes_first():
    """The word, its reason and the command that helps most, in the colour of the word."""
    verdict = Verdict("broken", "every score is the same", "zqc debug a.onnx b.onnx")
    said = text.compiled(dataclasses.replace(RESULT, verdict=verdict))
    assert said.plain.splitlines()[:2] == [
        "Verdict          broken: every score is the same",
        "Next             zqc debug a.onnx b.onnx",
    ]
    assert "bold red" in {str(span.style) for span in said.spans}
    assert "Next" not in lines(text.compiled(RESULT))


def test_long_latencies_are_whole_numbers():
    """A model of a second and more has its milliseconds, and no power of ten."""
    result = dataclasses.replace(RESULT, latency_before_ms=1111.2, latency_after_ms=999.4)
    assert "1,111 ms → 999 ms" in lines(text.compiled(result))["Latency"][0]


def test_what_became_worse_is_said():
    """A result that is larger or slower is not made to look better."""
    result = dataclasses.replace(RESULT, bytes_after=25_000_000, latency_after_ms=60.0)
    found = lines(text.compiled(result))
    assert "(2.000 of the float model)" in found["Size"][0]
    assert "(0.50 times as fast)" in found["Latency"][0]


def test_many_names_are_shortened():
    """A long list of names ends with how many more there are."""
    layers = tuple(LayerReport(f"l{i}", "Conv", 32, 32, False, "why") for i in range(20))
    found = lines(text.compiled(dataclasses.replace(RESULT, layers=layers, first_last=())))
    assert found["Stays float"][0] == "20 Conv: why (l0, l1, l2, 17 more)"


def test_synthesized():
    """Number and size of the pictures, layers, losses and the folder."""
    result = SynthesisResult(
        Path("pictures"), 64, (3, 192, 160), GIVEN, "57 BatchNorm layers", 57, 1.5, 0.25, 12.0
    )
    assert lines(text.synthesized(result)) == {
        "Input": ["-1:1"],
        "Pictures": ["64 of 3x192x160"],
        "Matched": ["57 BatchNorm layers"],
        "Loss": ["1.5 → 0.25"],
        "Written": ["pictures in 12.0 s"],
    }


def test_stopped():
    """Why it ended early, what the folder holds and, where that is possible, how to go on."""
    result = SynthesisResult(
        *(Path("out"), 64, (3, 192, 160), GIVEN, "57 BatchNorm layers", 57, 1.5, 0.25, 12.0),
        stopped="interrupted after 12 of 200 steps",
        checkpoint=Path("out/checkpoint.npz"),
    )
    assert text.stopped(result) == (
        "interrupted after 12 of 200 steps; out holds the pictures so far and a checkpoint. "
        "The same command with --resume goes on from there"
    )
    result = dataclasses.replace(result, stopped="diverged at step 3", checkpoint=None)
    assert text.stopped(result) == "diverged at step 3. out holds the pictures from before that"


def test_structured_noise_is_called_by_its_name():
    """Without statistics there is no loss to speak of, and compile warns where it names them."""
    cautious = dataclasses.replace(RESULT, caution="ranges may be far off", saturation="AVX2")
    found = text.compiled(cautious).plain.splitlines()
    assert found[3].split() == ["Warning", "ranges", "may", "be", "far", "off"]
    result = SynthesisResult(Path("pictures"), 8, (3, 9, 9), GIVEN, "", 0, math.nan, math.nan, 1.0)
    said = lines(text.synthesized(result))
    assert said["Matched"] == ["nothing: structured noise, made without statistics"]
    assert "Loss" not in said


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (InputChoice("-1:1", "given"), "-1:1"),
        (InputChoice("0:2", "recipe"), "0:2 (from the recipe in the quantized model)"),
        (InputChoice("0:1, BGR", "card"), "0:1, BGR (from the statistics card)"),
        (
            InputChoice("-1:1", "found", "--input-range=-1:1"),
            "-1:1 (found from the BatchNorm statistics; --input-range=-1:1 says the same)",
        ),
        (
            InputChoice("0:1", "found", "--input-range=0:1", order_known=False),
            "0:1 (found from the BatchNorm statistics; --input-range=0:1 says the same); RGB or "
            "BGR does not show, so check --bgr",
        ),
        (
            InputChoice("0:1", "assumed"),
            "0:1 (assumed; --input-range, or --mean and --std, say otherwise)",
        ),
    ],
)
def test_who_says_how_pixels_become_values(choice, said):
    """What was found is told with the options that say the same, what was assumed as such."""
    found = lines(text.compiled(dataclasses.replace(RESULT, input_choice=choice)))
    assert found["Input"] == [said]


def test_card_written():
    """How much a card tells, and how large it is."""
    result = StatsResult(Path("card.json"), 64, GIVEN, 57, 2640, 45_900, 3.0)
    assert lines(text.card_written(result)) == {
        "Input": ["-1:1"],
        "Pictures": ["64"],
        "Statistics": ["2,640 channels of 57 layers"],
        "Written": ["card.json, 45.9 kB, in 3.0 s"],
    }


def test_hanging():
    """Lines are broken before words that find no room, and go on to the right of the labels."""
    said = Text("\n").join(
        [text.line("Label", "ab " * 40, "bold"), Text(), text.line("File", "at /" + "x" * 90)]
    )
    first, second, empty, file, path = text.hanging(said, 80).plain.split("\n")
    assert first == "Label".ljust(17) + " ".join(["ab"] * 21)
    assert second == " " * 17 + " ".join(["ab"] * 19)
    assert (empty, file, path) == ("", "File".ljust(17) + "at", " " * 17 + "/" + "x" * 90)
    assert text.hanging(said, 200).plain.split("\n")[2] == said.plain.split("\n")[2]


def test_styles_survive_hanging():
    """A warning is yellow on all its lines."""
    said = text.hanging(text.line("Warning", "word " * 40, "yellow"), 80)
    coloured = [said.plain[span.start : span.end] for span in said.spans if span.style == "yellow"]
    assert " ".join("".join(coloured).split()).count("word") == 40


def test_a_fact_is_one_line():
    """Metadata of several lines become one, which grep finds with its key."""
    assert text.line("Metadata", "recipe = bits = 4\nseed = 1\n").plain == (
        "Metadata".ljust(17) + "recipe = bits = 4; seed = 1"
    )


def test_long_labels():
    """A label that is longer than its column, such as a target of a package, is kept apart."""
    assert text.line("a-target-of-somebody", "for it").plain == "a-target-of-somebody for it"
