"""Segmentation is compared by its masks."""

import json

import pytest

from tests.zqc.commands.small_detectors import (
    NAMES,
    bright_patches,
    write_coco,
    write_pictures,
    write_segments,
)
from zqc.commands.check import check

PATCHES = bright_patches()


@pytest.fixture
def models(tmp_path):
    """One whose masks are its boxes, and one with three quarters of them in the same boxes."""
    return tuple(write_segments(tmp_path / f"{rows}.onnx", rows=rows) for rows in (4, 3))


@pytest.fixture
def pictures(tmp_path):
    """Pictures of patches."""
    return write_pictures(tmp_path / "pictures", PATCHES)


def write_outlines(path, *, outlined=True):
    """Write COCO labels, with the patches as polygons."""
    content = json.loads(write_coco(path, PATCHES).read_text())
    for one in content["annotations"] if outlined else ():
        x, y, width, height = one["bbox"]
        one["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    path.write_text(json.dumps(content))
    return path


def write_polygons(folder):
    """Write the same as text files of five points, one of them on a side."""
    folder.mkdir()
    for index, bright in enumerate(PATCHES):
        lines = []
        for k in bright.nonzero()[0].tolist():
            x, y = (k % 4) / 4, (k // 4) / 4
            points = [x, y, x + 0.125, y, x + 0.25, y, x + 0.25, y + 0.25, x, y + 0.25]
            lines.append(" ".join(map(str, [k % 3, *points])))
        (folder / f"{index}.txt").write_text("\n".join(lines))
    return folder


def test_masks_decide_without_labels(models, pictures):
    """An IoU of 3/4 counts at six of ten thresholds, where the boxes are the same."""
    result = check(*models, images=pictures)
    assert (result.convention, result.agreement.kind) == ("yolo-segment", "outlines")
    assert result.agreement.ap == pytest.approx(0.6)
    assert result.pairing.counts.iou == pytest.approx(0.75)
    same = check(models[0], models[0], images=pictures)
    assert (same.agreement.ap, same.verdict.word) == (pytest.approx(1), "good")


@pytest.mark.parametrize("written", ["coco", "yolo"])
def test_masks_are_compared_with_labelled_outlines(tmp_path, models, pictures, written):
    """All ten thresholds for the float model, six for the other; the interval is of masks, too."""
    if written == "coco":
        labels = write_outlines(tmp_path / "l.json")
    else:
        labels = write_polygons(tmp_path / "labels")
    result = check(*models, images=pictures, labels=labels, names=NAMES)
    assert result.accuracy_float.kind == "outlines"
    assert result.accuracy_float.ap == pytest.approx(1)
    assert result.accuracy_quantized.ap == pytest.approx(0.6)
    assert result.difference.difference == pytest.approx(-0.4)
    assert result.difference.high < -0.3


def test_labels_without_outlines_are_compared_with_boxes(tmp_path, models, pictures):
    """The masks count for nothing then, and a note says it."""
    labels = write_outlines(tmp_path / "l.json", outlined=False)
    result = check(*models, images=pictures, labels=labels)
    assert result.accuracy_quantized.ap == pytest.approx(1)
    assert [note for note in result.notes if "not masks" in note]
