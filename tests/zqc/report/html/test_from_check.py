"""The page of a check says what its result says, and shows what both models find."""

import dataclasses
import math
import shlex

import numpy as np
import pytest
from PIL import Image

from tests.zqc.commands.small_detectors import (
    NAMES,
    bright_patches,
    write_coco,
    write_patches,
    write_pictures,
)
from tests.zqc.report.html.pages import HOSTILE
from zqc.cli.main import cli
from zqc.commands.check import check
from zqc.commands.limits import Limit
from zqc.detection.verdict import Verdict
from zqc.report.html import from_check
from zqc.report.html.from_check import checked_page
from zqc.report.html.render import render

PATCHES = bright_patches()


@pytest.fixture
def files(tmp_path):
    """A float model, one whose boxes have moved, pictures and labels."""
    return (
        write_patches(tmp_path / "m.onnx"),
        write_patches(tmp_path / "q.onnx", shift=9.0),
        write_pictures(tmp_path / "pictures", PATCHES),
        write_coco(tmp_path / "l.json", PATCHES),
    )


@pytest.fixture
def labelled(files):
    """A check with labels and limits."""
    model, moved, pictures, labels = files
    return check(model, moved, images=pictures, labels=labels, min_agreement=1, max_drop=1)


@pytest.fixture
def unlabelled(files):
    """A check without."""
    model, moved, pictures, _ = files
    return check(model, moved, images=pictures)


def test_what_stands_above(labelled):
    """The verdict with its command, the tiles, the notes as sentences, and the facts."""
    page = checked_page(dataclasses.replace(labelled, notes=("what is to be known",)))
    assert (page.model, page.kind) == ("q.onnx", "Check")
    verdict = labelled.verdict
    assert (page.verdict.word, page.verdict.reason) == (verdict.word, f"{verdict.reason}.")
    assert page.verdict.command == verdict.advice != ""
    assert page.warnings == ("What is to be known.",)
    tiles = {tile.label: tile for tile in page.tiles}
    assert list(tiles) == ["mAP", "Agreement", "Boxes kept", "Size"]
    before, after = labelled.accuracy_float.ap, labelled.accuracy_quantized.ap
    assert tiles["mAP"].value == f"{100 * after:.1f}"
    assert tiles["mAP"].before == f"{100 * before:.1f}"
    assert tiles["mAP"].interval.value == pytest.approx(100 * (after - before))
    counts = labelled.pairing.counts
    assert tiles["Boxes kept"].value == f"{counts.kept}/{counts.float_boxes}"
    assert tiles["Boxes kept"].share == counts.kept / counts.float_boxes
    facts = dict(page.facts)
    assert (facts["Input"], facts["Other sizes"]) == ("0:1", "letterbox")
    assert (facts["--min-agreement"], facts["--max-drop"]) == ("1: holds", "1: does not hold")
    assert facts["Detector"].startswith("yolo, detect, 3 classes (cat, dog, bird)")
    words = shlex.split(page.command)
    assert words == ["zqc", "check", labelled.float_model, labelled.quantized]
    cli.commands["check"].make_context("check", words[2:])


def test_pictures_have_both_sides_and_the_labels(labelled):
    """Worst first; each box in the pixels of the picture that is shown, with what became of it."""
    page = checked_page(labelled)
    assert [one.name for one in page.pictures.shown] == [name for name, _ in labelled.worst]
    assert page.pictures.total == len(PATCHES)
    for picture in page.pictures.shown:
        bright = np.flatnonzero(PATCHES[int(picture.name[0])])
        assert (picture.width, picture.height) == (64, 64)  # as the model has seen it
        boxes = {shape.box for shape in picture.label_shapes}
        assert boxes == {
            (x, y, x + 16, y + 16) for x, y in ((16 * (k % 4), 16 * (k // 4)) for k in bright)
        }
        assert {shape.name for shape in picture.label_shapes} <= set(NAMES)
        assert len(picture.float_shapes) == len(picture.quantized_shapes) == len(bright)
        assert picture.kept == sum(shape.state == "kept" for shape in picture.quantized_shapes)
        # Boxes of two columns have moved by 7 of 16 pixels, IoU 9 / 23; those in the last one are
        # cut at the border, 7 / 14.
        assert picture.lost == picture.new == sum(k % 4 == 1 for k in bright)
        for shape in picture.float_shapes:
            expected = ("IoU 1.00", "IoU 0.50") if shape.state == "kept" else ("",)
            assert shape.note in expected
            assert 0.3 < shape.score < 1


def test_boxes_stand_right_in_pictures_that_are_not_square(tmp_path):
    """A letterboxed picture is shown without its grey, and boxes lie in what is shown."""
    model = write_patches(tmp_path / "m.onnx", gain=6.0)  # finds nothing in the grey around it
    folder = tmp_path / "wide"
    folder.mkdir()
    Image.new("RGB", (128, 64), "white").save(folder / "wide.png")
    (picture,) = checked_page(check(model, model, images=folder)).pictures.shown
    assert (picture.width, picture.height) == (64, 32)
    tops = {shape.box[1] for shape in picture.float_shapes}
    assert tops == {0, 16}  # rows 1 and 2 of the patches: the grey above them is 16 high


def test_scores_of_both_models(unlabelled):
    """A point for each pair; a box of one model alone has no score in the other."""
    page = checked_page(unlabelled)
    counts = unlabelled.pairing.counts
    points = np.array(page.matches.scores)
    assert (page.matches.kept, page.matches.lost, page.matches.new) == (
        counts.kept,
        counts.lost,
        counts.new,
    )
    assert len(points) == counts.kept + counts.lost + counts.new
    assert np.isnan(points).sum(axis=0).tolist() == [counts.new, counts.lost]
    pairs = points[~np.isnan(points).any(axis=1)]
    assert pairs[:, 1] == pytest.approx(pairs[:, 0])  # only boxes have moved


def test_many_scores_are_thinned(unlabelled, monkeypatch):
    """A chart of two thousand points is enough."""
    monkeypatch.setattr(from_check, "_POINTS", 10)
    assert 5 < len(checked_page(unlabelled).matches.scores) <= 10


def test_classes(labelled, unlabelled):
    """AP of both with labels; agreement and what became of the boxes without."""
    rows = {row.name: row for row in checked_page(labelled).classes}
    for one, other in zip(
        labelled.accuracy_float.classes, labelled.accuracy_quantized.classes, strict=True
    ):
        assert (rows[one.name].ap_float, rows[one.name].ap_quantized) == (one.ap, other.ap)
        assert rows[one.name].labels == one.labels
    rows = checked_page(unlabelled).classes
    assert [row.name for row in rows] == list(NAMES)
    assert all(math.isnan(row.ap_float) for row in rows)
    for row, one in zip(rows, unlabelled.agreement.classes, strict=True):
        assert row.ap_quantized == one.ap
    for row, paired in zip(rows, unlabelled.pairing.classes, strict=True):
        counts = paired.counts
        assert (row.kept, row.lost, row.new) == (counts.kept, counts.lost, counts.new)


def test_what_is_not_known_is_not_drawn(unlabelled):
    """Without detections there are outputs and sizes, and no picture, class or chart."""
    bare = dataclasses.replace(
        unlabelled,
        shown=None,
        pairing=None,
        agreement=None,
        not_compared=(("z", "it is a map"),),
    )
    page = checked_page(bare)
    assert (page.pictures, page.matches, page.classes) == (None, None, ())
    assert [tile.label for tile in page.tiles] == ["Size"]
    assert page.parts[-1].note == "not compared: it is a map"
    assert page.parts[-1].name == "z"
    render(page)


def test_pictures_that_are_no_colours_are_left_out(unlabelled):
    """Two channels cannot be drawn."""
    shown = unlabelled.shown

    def read(start, stop):
        tensors, placements = shown.pictures.read(start, stop)
        return tensors[:, :2], placements

    strange = dataclasses.replace(shown, pictures=dataclasses.replace(shown.pictures, read=read))
    assert checked_page(dataclasses.replace(unlabelled, shown=strange)).pictures is None


def test_models_in_memory_have_no_command(unlabelled):
    """What has no file cannot be typed."""
    page = checked_page(dataclasses.replace(unlabelled, quantized="", float_model=""))
    assert (page.model, page.command) == ("model in memory", "")


def test_hostile_names_do_nothing(labelled):
    """Names of classes, files and reasons are text on the page."""
    classes = tuple(
        dataclasses.replace(one, name=HOSTILE) for one in labelled.accuracy_float.classes
    )
    result = dataclasses.replace(
        labelled,
        verdict=Verdict("broken", HOSTILE, HOSTILE),
        accuracy_float=dataclasses.replace(labelled.accuracy_float, classes=classes),
        accuracy_quantized=dataclasses.replace(labelled.accuracy_quantized, classes=classes),
        classes=(HOSTILE,) * 3,
        detector=HOSTILE,
        quantized=HOSTILE,
        notes=(HOSTILE,),
        limits=(Limit(HOSTILE, 1, math.nan, False),),
    )
    html = render(checked_page(result))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "{{ 7*7 }}" in html
