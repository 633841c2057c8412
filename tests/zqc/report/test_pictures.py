"""What a synthesis leaves in its folder."""

import json

import numpy as np
import pytest
from PIL import Image

from zqc.errors import ImageError
from zqc.pictures.input_format import InputFormat
from zqc.report.pictures import REPORT, write_course, write_pictures, write_sheet
from zqc.synthesis.generate import Synthesis
from zqc.synthesis.loop import LayerGap


def test_pictures_stand_alone_beside_what_is_to_look_at(tmp_path, rng):
    """PNG files show the pixels, the tensors are exact, and the sheet is in a folder below."""
    form = InputFormat.from_range(-1, 1)
    tensors = rng.uniform(-1, 1, (3, 3, 8, 6)).astype(np.float32)
    write_pictures(tmp_path, tensors, form, synthesised=True)
    write_sheet(tmp_path, tensors, form, synthesised=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000.png", "001.png", "002.png", "pictures.npz", REPORT]
    assert (tmp_path / REPORT / "contact_sheet.png").exists()
    with np.load(tmp_path / "pictures.npz") as saved:
        assert any(np.array_equal(saved[name], tensors) for name in saved.files)
    with Image.open(tmp_path / "001.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), form.to_pixels(tensors[1:2])[0])


def test_two_channels_are_no_picture(tmp_path, rng):
    """Neither grey nor colour: that is an error of the pictures."""
    tensors = rng.uniform(0, 1, (1, 2, 4, 4)).astype(np.float32)
    with pytest.raises(ImageError):
        write_pictures(tmp_path, tensors, InputFormat(), synthesised=False)


def test_the_course_is_written_as_plots_and_numbers(tmp_path):
    """What was asked for, why it ended, every loss, and the gaps of each layer."""
    gap = LayerGap("norm", 0.25, 0.5)
    made = Synthesis(np.zeros((1, 3, 4, 4), np.float32), (2.0, 1.0), (gap,), None, stopped="why")
    write_course(tmp_path, made, {"seed": 7})
    report = tmp_path / REPORT
    assert {path.name for path in report.iterdir()} == {
        "loss.png",
        "statistics_gap.png",
        "statistics.json",
    }
    assert json.loads((report / "statistics.json").read_text()) == {
        "options": {"seed": 7},
        "stopped": "why",
        "losses": [2.0, 1.0],
        "layers": [{"name": "norm", "mean": 0.25, "deviation": 0.5}],
    }
