"""The verdict on what was compiled: the detections of both models on the calibration pictures."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from tests.zqc.commands.small_detectors import (
    bright_patches,
    write_detector,
    write_patches,
)
from zqc.commands.detector import detector_of
from zqc.commands.judged import is_better, judge_compiled
from zqc.detection.agreement import PartAgreement
from zqc.model_io import model_file
from zqc.pictures.images import ImageSet
from zqc.progress import Silent

PATCHES = bright_patches(10)
PARTS = (PartAgreement("boxes", "boxes", 30.0, 0.99, 50, 60),)


@pytest.fixture
def pictures():
    """Ten pictures as input tensors, one more than a batch has and then some."""
    grey = np.kron(PATCHES.reshape(-1, 1, 4, 4), np.ones((1, 1, 16, 16)))
    return ImageSet.of_tensors(np.repeat(grey, 3, axis=1).astype(np.float32), "patches")


def judged(path, other, pictures, *, parts=PARTS, real=True):
    """Judge one file by another."""
    loaded = model_file.load(path)
    with Silent().task("Comparing", len(pictures)) as task:
        return judge_compiled(
            loaded,
            other.read_bytes(),
            pictures,
            parts,
            detector=detector_of(loaded),
            real=real,
            threads=1,
            task=task,
        )


def test_the_same_model_is_good(tmp_path, pictures):
    """Every bright patch is found by both; what it rests on comes along."""
    path = write_patches(tmp_path / "m.onnx")
    found = judged(path, path, pictures)
    assert (found.verdict.word, found.verdict.advice) == ("good", "")
    assert found.agreement.ap == pytest.approx(1)
    assert found.pairing.counts.kept == PATCHES.sum()
    assert [len(one.above(0.3)) for one in found.seen.reference] == PATCHES.sum(axis=1).tolist()
    assert found.detector.names == ("cat", "dog", "bird")
    assert {one.name for one in found.pairing.classes} == {"cat", "dog", "bird"}


def test_a_target_may_fix_the_batch(tmp_path, pictures):
    """A file that takes one picture at a time is judged beside a float model that takes any."""
    path = write_patches(tmp_path / "m.onnx")
    single = onnx.load(path)
    single.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(single, tmp_path / "single.onnx")
    found = judged(path, tmp_path / "single.onnx", pictures)
    assert found.verdict.word == "good"
    assert len(found.seen.quantized) == len(PATCHES)


def test_permuted_classes_are_broken(tmp_path, pictures):
    """With the classes by name, on real pictures and on such that were made up."""
    path = write_patches(tmp_path / "m.onnx")
    permuted = write_patches(tmp_path / "q.onnx", order=(1, 2, 0))
    for real in (True, False):
        found = judged(path, permuted, pictures, real=real)
        assert found.verdict.word == "broken"
        assert "boxes of class cat come out as dog" in found.verdict.reason


def test_a_fixed_batch_counts_no_picture_twice(tmp_path):
    """Three pictures through a model of batch 2 give three results."""
    path = write_detector(tmp_path / "m.onnx", batch=2)
    grey = np.ones((3, 3, 64, 64), np.float32) * np.float32([1, 0.8, 0.1])[:, None, None, None]
    found = judged(path, path, ImageSet.of_tensors(grey, "grey"))
    assert len(found.seen.reference) == len(found.seen.quantized) == 3
    assert found.pairing.counts.float_boxes == 2


def test_without_a_convention_the_parts_judge(tmp_path):
    """Nothing is run; the SQNR of the outputs is what there is."""
    path = write_detector(tmp_path / "m.onnx", height=96, width=96)
    found = judged(path, path, ImageSet.of_tensors(np.zeros((1, 3, 96, 96)), "black"))
    assert (found.agreement, found.pairing, found.seen.reference) == (None, None, ())
    assert found.verdict.reason == "no detections to compare; the least SQNR is 30.0 dB, of boxes"


def test_without_coco_boxes_are_still_paired(tmp_path, pictures, monkeypatch):
    """The package that measures AP is asked for nowhere: compile does not need it."""
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    path = write_patches(tmp_path / "m.onnx")
    found = judged(path, path, pictures)
    assert found.agreement is None
    assert found.pairing.counts.kept == PATCHES.sum()
    assert found.verdict.word == "good"


def test_dead_scores_come_first(tmp_path, pictures):
    """What the parts show counts before detections do."""
    path = write_patches(tmp_path / "m.onnx")
    dead = (*PARTS, PartAgreement("scores", "scores", 20.0, 0.9, 5, 4000))
    found = judged(path, path, pictures, parts=dead)
    assert found.verdict.word == "broken"
    assert "only 5 distinct values" in found.verdict.reason


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (("good", 0.96), ("usable with care", 0.94), True),
        (("usable with care", 0.80), ("usable with care", 0.70), True),
        (("usable with care", 0.74), ("usable with care", 0.70), False),
        (("usable with care", 0.80), ("broken", None), True),
        (("not judged", None), ("broken", 0.1), False),
    ],
)
def test_more_bits_are_worth_it_by_verdict_or_by_agreement(
    tmp_path, pictures, first, second, better
):
    """A better word, or 5 points more."""
    path = write_patches(tmp_path / "m.onnx")
    found = judged(path, path, pictures)
    one, other = (
        replace(
            found,
            verdict=replace(found.verdict, word=word),
            agreement=None if ap is None else replace(found.agreement, ap=ap),
        )
        for word, ap in (first, second)
    )
    assert is_better(one, other) is better


@pytest.mark.parametrize(("decibels", "better"), [(33.5, True), (32.5, False)])
def test_without_detections_half_of_the_error_is_worth_it(tmp_path, pictures, decibels, better):
    """That is 3 dB."""
    path = write_patches(tmp_path / "m.onnx")
    found = replace(judged(path, path, pictures), agreement=None)
    more = replace(found, parts=(replace(PARTS[0], sqnr_db=decibels),))
    assert is_better(more, found) is better
