"""What pairs of models should be called, and how often that is said."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import zqc
from tools.study import verdicts
from tools.study.cases import EXAMPLE, Case
from zqc.commands.check_result import CheckResult
from zqc.detection.average_precision import Accuracy
from zqc.detection.verdict import Verdict
from zqc.statistics.input_choice import InputChoice


def seen(word="good", *, before=None, after=None, agreed=None):
    """What a check found."""
    accuracies = (None if ap is None else Accuracy(ap, ap) for ap in (before, after, agreed))
    return CheckResult(
        Verdict(word, ""),
        images=1,
        pictures="1 picture",
        made_up=False,
        input_choice=InputChoice("0:1", "given"),
        fit="",
        parts=(),
        **dict(zip(("accuracy_float", "accuracy_quantized", "agreement"), accuracies, strict=True)),
    )


def expected(result, *, broken=False):
    """What a pair with this result should be called, and why."""
    return verdicts._expected(verdicts.Pair(EXAMPLE, "x", Path("x"), broken=broken), result)


def test_what_was_broken_on_purpose_is_broken():
    """Whatever the numbers say."""
    result = seen(before=0.8, after=0.8, agreed=1.0)
    assert expected(result, broken=True) == ("broken", "on purpose")


@pytest.mark.parametrize(
    ("after", "word"),
    [(0.79, "good"), (0.77, "usable with care"), (0.41, "usable with care"), (0.39, "broken")],
)
def test_labels_decide_before_agreement(after, word):
    """By the limits of the verdict: 2 points, and half."""
    for agreed in (0.0, 1.0):
        result = seen(before=0.8, after=after, agreed=agreed)
        assert expected(result) == (word, f"mAP 80.0 → {100 * after:.1f}")


@pytest.mark.parametrize(
    ("agreed", "word"),
    [(0.95, "good"), (0.94, "usable with care"), (0.5, "usable with care"), (0.49, "broken")],
)
def test_agreement_decides_without_labels(agreed, word):
    """On real pictures; the verdict itself counts for nothing."""
    for said in verdicts.WORDS:
        result = seen(said, agreed=agreed)
        assert expected(result) == (word, f"agreement {100 * agreed:.1f} %")


def test_without_detections_the_verdict_is_taken():
    """There is nothing else to judge by."""
    assert expected(seen("usable with care")) == ("usable with care", "no detections")


def test_the_table_counts_what_was_said():
    """Rows what it should be, columns what was said, words that came up nowhere left out."""
    counts = Counter({("good", "good"): 5, ("good", "broken"): 1, ("broken", "broken"): 7})
    assert verdicts._table(counts) == [
        "| | good | broken |",
        "|---|---|---|",
        "| good | 5 | 1 |",
        "| broken | 0 | 7 |",
    ]


def test_every_pair_is_judged_three_times(tmp_path, monkeypatch):
    """With labels to know, with real pictures, and with made ones; what exists is not compiled."""
    case = Case(tmp_path / "small.onnx", tmp_path / "real", zqc.InputFormat())
    made, checked = [], []

    def compile_model(model, output, *, recipe):
        made.append(Path(output).name)
        Path(output).touch()

    def synthesize(model, directory, *, recipe):
        made.append(Path(directory).name)
        directory.mkdir()

    def check(model, file, *, images, labels, **_):
        checked.append((file.name, images.name, labels))
        return seen("good", agreed=0.96)

    monkeypatch.setattr(verdicts, "EXAMPLE", case)
    for name, replaced in (("compile", compile_model), ("synthesize", synthesize)):
        monkeypatch.setattr(verdicts.zqc, name, replaced, raising=False)
    monkeypatch.setattr(verdicts.zqc, "check", check, raising=False)
    monkeypatch.setattr(verdicts, "_spoiled", lambda *_: iter(()))
    runs = [CliRunner().invoke(verdicts.main, [str(tmp_path / "f")]) for _ in range(2)]
    assert [run.exit_code for run in runs] == [0, 0]
    assert runs[0].output == runs[1].output
    assert len(made) == 1 + len(verdicts.OPTIONS) == len(set(made))
    files = [f"small.{name}.onnx" for name in verdicts.OPTIONS]
    assert sorted({name for name, _, _ in checked}) == sorted(files)
    assert {images for _, images, _ in checked} == {"real", "pictures.npz"}
    row = "| small | W8A8 | good | agreement 96.0 % | good, 96.0 % | good, 96.0 % |"
    assert row in runs[0].output
    assert runs[0].output.count(f"| good | {len(files)} |") == 2


def test_layers_are_spoiled_by_either_factor(tmp_path, monkeypatch):
    """Ten different ones, half of them by 8 and half by an eighth, and four other things."""
    monkeypatch.setattr(verdicts.spoil, "spoiled", lambda source, target, spoil: target.touch())
    pairs = list(verdicts._spoiled(EXAMPLE, tmp_path / "q.onnx", tmp_path))
    assert all(pair.broken and pair.file.exists() for pair in pairs)
    scales = [pair.name for pair in pairs if pair.name.startswith("scale")]
    assert len(scales) == len(set(scales)) == verdicts.SPOILED
    assert np.sum([name.endswith("× 8") for name in scales]) == verdicts.SPOILED / 2
    assert len(pairs) - len(scales) == 4
