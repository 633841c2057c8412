"""What a comparison has shown, judged and put together."""

import dataclasses

import numpy as np
import pytest

from tests.zqc.commands.small_detectors import (
    bright_patches,
    write_coco,
    write_patches,
    write_pictures,
)
from zqc.commands.check import check
from zqc.commands.check_result import Shown, result_of
from zqc.commands.detector import Detector
from zqc.commands.labelled import labelled
from zqc.commands.limits import Limit
from zqc.commands.pair import open_pair
from zqc.detection.comparison import compare
from zqc.diagnosis.defects import Defect
from zqc.pictures.images import open_images
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.statistics.input_choice import InputChoice

PATCHES = bright_patches()
RANGE = InputFormat.from_range(0, 1)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A pair of which the quantized model's boxes are a little moved, compared on pictures."""
    folder = tmp_path_factory.mktemp("shown")
    files = write_patches(folder / "m.onnx"), write_patches(folder / "q.onnx", shift=3.0)
    pair = open_pair(files, input_shape=None, values={}, threads=1)
    detector = Detector.of(pair.facts())
    directory = write_pictures(folder / "pictures", PATCHES)
    pictures = open_images(directory, channels=3, height=64, width=64, input_format=RANGE)
    with Silent().task("", 0) as task:
        batches = pictures.placed_batches(1)
        seen = compare(pair.run, batches, pair.parts, detector.convention, task=task)
    return pair, detector, Shown(pictures, RANGE, seen, None)


def result(shown, **changes):
    """The result of the comparison."""
    options = {"fit": "letterbox", "real": True, "odd": (), "saturated": ""}
    options |= {"demanded": (None, None), **changes}
    return result_of(*shown, choice=InputChoice("0:1", "given"), **options)


def test_everything_is_said_of_what_was_compared(shown):
    """Files, sizes, pictures and parts; nothing of labels, of which there are none."""
    pair, detector, drawn = shown
    found = result(shown)
    assert (found.float_model, found.quantized) == (str(pair.first.path), str(pair.second.path))
    assert found.bytes_float == pair.first.path.stat().st_size
    assert (found.images, found.made_up, found.convention) == (len(PATCHES), False, "yolo")
    assert found.classes == detector.names
    assert found.parts == drawn.comparison.parts
    assert (found.accuracy_float, found.difference, found.limits, found.notes) == (None,) * 2 + (
        (),
    ) * 2
    assert found.passed
    assert found.verdict.word == "usable with care"


def test_a_defect_is_named_with_its_layer(shown):
    """The verdict is broken, and ``debug`` is the way on."""
    odd = (Defect("neck", "its weights are 8 times those of the float model"), Defect("b", "c"))
    found = result(shown, odd=odd)
    assert found.defects == odd
    assert found.verdict.word == "broken"
    assert found.verdict.reason == (
        "layer neck: its weights are 8 times those of the float model, and 1 more"
    )
    assert found.verdict.advice.startswith("zqc debug ")


def test_what_was_demanded_is_held_against_what_was_measured(shown, tmp_path):
    """Both limits, and ``passed`` sums them up."""
    pair, detector, drawn = shown
    path = write_coco(tmp_path / "l.json", PATCHES)
    truth = labelled(path, drawn.pictures, detector)
    whole = (pair, detector, dataclasses.replace(drawn, truth=truth))
    agreed = 100 * result(shown).agreement.ap
    found = result(whole, demanded=(agreed + 1, 100))
    drop = 100 * (found.accuracy_float.ap - found.accuracy_quantized.ap)
    assert found.limits == (
        Limit("--min-agreement", agreed + 1, agreed, False),
        Limit("--max-drop", 100, drop, True),
    )
    assert not found.passed
    assert result(whole, demanded=(agreed - 1, 100)).passed


def test_pictures_that_were_made_up_are_judged_as_such(shown):
    """Of them the limits are lower: the same agreement is good, and real pictures are advised."""
    found = result(shown, real=False, fit="")
    assert (found.made_up, found.fit) == (True, "")
    assert 0.85 <= found.agreement.ap < 0.95
    assert found.verdict.word == "good"
    assert "made up" in found.verdict.reason


def test_the_worst_pictures_are_named(tmp_path):
    """The picture that differs is the first, with its file's name."""
    model = write_patches(tmp_path / "m.onnx")
    patches = np.zeros((3, 16), np.bool_)
    patches[:, 0] = True  # the same box in both
    patches[1, 1] = True  # a box that the other model has elsewhere
    folder = write_pictures(tmp_path / "three", patches)
    moved = write_patches(tmp_path / "q.onnx", shift=12.0)
    found = check(model, moved, images=folder)
    assert found.worst[0] == ("1.png", pytest.approx(0.5))
    assert [f1 for _, f1 in found.worst[1:]] == [1, 1]
    assert "Worst pictures   1.png (F1 0.50)" in str(found)
