"""What ``zqc check`` says on a terminal and in a pull request."""

import dataclasses
import math
import re

import pytest

from zqc.commands.check_result import CheckResult
from zqc.commands.limits import Limit
from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy, ClassAccuracy
from zqc.detection.bootstrap import Interval
from zqc.detection.pairing import ClassPairing, Counts, Pairing
from zqc.detection.verdict import Verdict
from zqc.report.check_text import checked, markdown
from zqc.statistics.input_choice import InputChoice

NAN = math.nan
HOSTILE = "a|b <script>alert(1)</script> `x` *y* _z_ [l](http://x)\n# h\\"


def counts(kept=9, lost=2, new=1, lost_below=1):
    """Counts of boxes."""
    return Counts(kept + lost, kept, lost, lost_below, new, 0, 0.93, -0.021, -0.01)


def pairing(**more):
    """How detections pair, with two classes that differ."""
    classes = (
        ClassPairing(0, "cat", counts(9, 0, 0, 0), 0.3),
        ClassPairing(1, "dog", counts(0, 2, 1), NAN),
    )
    known = Pairing(0.3, False, counts(), 0.2761, None, classes, ((4, 0.5), (1, 1.0)))
    return dataclasses.replace(known, **more)


BEFORE = Accuracy(
    *(0.634, 0.901, 0.7, 0.5, 0.6, NAN),
    classes=(ClassAccuracy(0, "cat", 0.7, 0.9, 40), ClassAccuracy(1, "dog", 0.568, 0.9, 8)),
)
AFTER = Accuracy(
    *(0.612, 0.888, 0.69, 0.4, 0.6, NAN),
    classes=(ClassAccuracy(0, "cat", 0.7, 0.9, 40), ClassAccuracy(1, "dog", 0.524, 0.9, 8)),
)
BOXES = PartAgreement("boxes", "boxes", math.inf, 1.0, 5000, 6000)
SCORES = PartAgreement("scores", "scores", 20.0, 0.98, 900, 6000)

BARE = CheckResult(
    verdict=Verdict("good", "it agrees"),
    images=200,
    pictures="200 pictures from photos",
    made_up=False,
    input_choice=InputChoice("-1:1", "recipe"),
    fit="letterbox",
    parts=(BOXES, SCORES),
    detector="yolo, detect, 2 classes (cat, dog)",
    bytes_float=12_500_000,
    bytes_quantized=2_000_000,
)
FULL = dataclasses.replace(
    BARE,
    verdict=Verdict("usable with care", "it lost a little", "zqc debug a.onnx b.onnx"),
    accuracy_float=BEFORE,
    accuracy_quantized=AFTER,
    difference=Interval(-0.022, -0.031, -0.011, 0.95, 1000),
    agreement=Accuracy(0.95, 0.99, 0.97),
    pairing=pairing(),
    worst=(("4.png", 0.5), ("1.png", 1.0)),
    not_compared=(("z", "it is a map"),),
    notes=("1 class (bird) of the model has no labels",),
    limits=(Limit("--min-agreement", 90, 95.0, True), Limit("--max-drop", 2, 2.2, False)),
)


def lines(text):
    """The lines of a summary, by label, in their order."""
    found = {}
    for line in text.plain.splitlines():
        found.setdefault(line[:17].strip(), []).append(line[17:])
    return found


def test_the_verdict_stands_first():
    """Then what to do, what the pictures are, and what all of it rests on."""
    found = lines(checked(FULL))
    assert list(found) == [
        "Verdict",
        "Next",
        "Input",
        "Pictures",
        "Detector",
        "Float model",
        "Quantized model",
        "Difference",
        "Most lost",
        "Detections",
        "Boxes",
        "Scores",
        "Least alike",
        "Worst pictures",
        "Agreement",
        "Not compared",
        "Size",
        "Note",
        "Limit",
    ]
    assert found["Verdict"] == ["usable with care: it lost a little"]
    assert found["Next"] == ["zqc debug a.onnx b.onnx"]
    assert found["Input"] == [
        "-1:1 (from the recipe in the quantized model); other sizes: letterbox"
    ]


def test_numbers_against_labels():
    """Both models, their difference with its interval, and the classes that lost most."""
    found = lines(checked(FULL))
    assert found["Float model"] == ["AP 63.4, AP50 90.1, AP75 70.0 (small 50.0, medium 60.0)"]
    assert found["Quantized model"] == ["AP 61.2, AP50 88.8, AP75 69.0 (small 40.0, medium 60.0)"]
    assert found["Difference"] == ["-2.2 points of mAP, 95 % interval -3.1 to -1.1"]
    assert found["Most lost"] == ["dog 56.8 → 52.4"]


def test_numbers_against_the_float_model():
    """AP, boxes and scores apart, and the classes and the pictures that are least alike."""
    found = lines(checked(FULL))
    said = "AP 95.0, AP50 99.0, AP75 97.0 against those of the float model"
    assert found["Detections"] == [said]
    assert found["Boxes"] == [
        "9 of 11 kept, mean IoU 0.930, 2 lost (1 of them have lower scores now), 1 new"
    ]
    assert found["Scores"] == [
        "above 0.3; shifted by -0.021 on average; a threshold of 0.276 finds as many boxes as the "
        "float model"
    ]
    assert found["Least alike"] == ["dog 0/2 kept, 1 new"]
    assert found["Worst pictures"] == ["4.png (F1 0.50), 1.png (F1 1.00)"]


def test_outputs_limits_and_notes():
    """Parts of the outputs, what is not compared, and whether the limits hold."""
    found = lines(checked(FULL))
    assert found["Agreement"][0] == "boxes: SQNR ∞ dB, correlation 1.0000"
    assert found["Not compared"] == ["z: it is a map"]
    assert found["Size"] == ["12.50 MB → 2.00 MB"]
    assert found["Note"] == list(FULL.notes)
    assert found["Limit"] == [
        "--min-agreement 90: holds, 95.0",
        "--max-drop 2: does not hold, 2.2",
    ]
    unknown = dataclasses.replace(FULL, limits=(Limit("--max-drop", 2, NAN, False),))
    assert lines(checked(unknown))["Limit"] == ["--max-drop 2: does not hold, not measured"]


def test_what_is_not_known_is_not_said():
    """Without labels, convention and advice there are none of their lines, and no NaN."""
    found = lines(checked(dataclasses.replace(BARE, fit="")))
    assert list(found) == ["Verdict", "Input", "Pictures", "Detector", "Agreement", "Size"]
    assert "nan" not in checked(BARE).plain
    assert found["Input"] == ["-1:1 (from the recipe in the quantized model)"]


def test_a_float_model_that_finds_nothing_is_told():
    """With the likeliest cause, instead of numbers of nothing."""
    none = Counts(0, 0, 0, 0, 2, 0, NAN, NAN, NAN)
    result = dataclasses.replace(
        BARE, pairing=pairing(counts=none, threshold=NAN, classes=(), pictures=())
    )
    found = lines(checked(result))
    assert found["Detections"] == [
        "not compared: the float model finds nothing in these pictures; is the input line above "
        "right?"
    ]
    assert "Boxes" not in found
    assert "nan" not in markdown(result, title="q").lower()


def test_nothing_kept_has_no_mean():
    """Where no box is left, no overlap and no shift are said."""
    none = Counts(5, 0, 5, 2, 0, 0, NAN, NAN, NAN)
    found = lines(checked(dataclasses.replace(BARE, pairing=pairing(counts=none, threshold=NAN))))
    assert found["Boxes"] == ["0 of 5 kept, 5 lost (2 of them have lower scores now), 0 new"]
    assert found["Scores"] == ["above 0.3"]


def rows(text):
    """The cells of all rows of all tables."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]


@pytest.mark.parametrize(
    ("word", "mark"), [("good", "✅"), ("usable with care", "⚠️"), ("broken", "❌"), ("odd", "❔")]
)
def test_a_mark_for_each_verdict(word, mark):
    """The heading has the file, the word and its mark; the reason is a sentence."""
    result = dataclasses.replace(BARE, verdict=Verdict(word, "it agrees"))
    heading, _, reason, *_ = markdown(result, title="q.onnx").splitlines()
    assert heading == f"### {mark} q.onnx: {word}"
    assert reason == "it agrees."


def test_a_summary_for_a_pull_request():
    """One table of numbers, one of classes, the next command and the notes."""
    text = markdown(FULL, title="q.onnx")
    found = rows(text)
    assert ["mAP", "63.4 → 61.2"] in found
    assert ["Agreement of detections (AP)", "95.0 %"] in found
    assert ["SQNR of boxes", "∞ dB"] in found
    assert ["Size", "12.50 MB → 2.00 MB"] in found
    assert ["--max-drop 2", "does not hold, 2.2"] in found
    assert ["dog", "8", "56.8", "52.4", "-4.4"] in found
    assert "\nNext: `zqc debug a.onnx b.onnx`\n" in text
    assert text.endswith("- 1 class (bird) of the model has no labels\n")
    assert {len(row) for row in found} == {2, 5}


def test_hostile_names_break_no_table_and_are_no_markup():
    """A name with bars, tags, backticks and lines is one cell, in which all is escaped."""
    classes = tuple(ClassAccuracy(0, HOSTILE, 0.5, 0.5, 3) for _ in range(2))
    result = dataclasses.replace(
        FULL,
        verdict=Verdict("broken", HOSTILE),
        detector=HOSTILE,
        pictures=HOSTILE,
        notes=(HOSTILE,),
        accuracy_float=dataclasses.replace(BEFORE, classes=classes),
        accuracy_quantized=dataclasses.replace(AFTER, classes=classes),
        parts=(dataclasses.replace(BOXES, part=HOSTILE),),
    )
    text = markdown(result, title=HOSTILE)
    plain, expected = markdown(FULL, title="q"), rows(text)
    assert sorted({len(row) for row in expected}) == [2, 5]
    assert len(text.splitlines()) == len(plain.splitlines()) - 2 - 1  # no advice, a part less
    for special in "|`*_<>[]":
        for match in re.finditer(re.escape(special), text):
            before = text[: match.start()]
            line = before.rpartition("\n")[2]
            escaped = (len(before) - len(before.rstrip("\\"))) % 2 == 1
            border = special == "|" and text.splitlines()[before.count("\n")].startswith("|")
            assert escaped or border, (special, line)


def test_advice_is_code_whatever_it_holds():
    """A path with a backtick does not end the code that the command is shown as."""
    advice = "zqc debug 'a`<b>.onnx' '`c``d.onnx'"
    verdict = Verdict("broken", "why", advice)
    text = markdown(dataclasses.replace(BARE, verdict=verdict), title="q")
    (said,) = [line for line in text.splitlines() if line.startswith("Next: ")]
    fence = re.match(r"Next: (`+)", said).group(1)
    inner = said.removeprefix(f"Next: {fence}").removesuffix(fence)
    assert inner.strip() == advice
    assert not re.search(f"(?<!`){fence}(?!`)", inner)
