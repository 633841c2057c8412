"""``zqc check`` on the command line: options, files that it writes, and its exit code."""

import errno
import json
import os
from xml.etree import ElementTree

import pytest

from tests.zqc.commands.small_detectors import (
    bright_patches,
    write_coco,
    write_patches,
    write_pictures,
    write_yolo,
)
from zqc.commands import check as checker
from zqc.pictures.input_format import InputFormat

PATCHES = bright_patches()


@pytest.fixture
def model(tmp_path):
    """The float model."""
    return write_patches(tmp_path / "m.onnx")


@pytest.fixture
def moved(tmp_path):
    """A model that agrees to some percent."""
    return write_patches(tmp_path / "q.onnx", shift=3.0)


@pytest.fixture
def pictures(tmp_path):
    """Pictures."""
    return write_pictures(tmp_path / "pictures", PATCHES)


def entries(folder):
    """Names of everything in a folder, hidden files included."""
    return sorted(entry.name for entry in folder.iterdir())


def test_the_verdict_is_the_first_line(zqc, model, moved, pictures):
    """On standard output; a verdict alone is no failure."""
    code, out, err = zqc("check", model, moved, "--images", pictures)
    assert code == 0, err
    first, second, *_ = out.splitlines()
    assert first.startswith("Verdict          usable with care: its detections agree with the ")
    assert second == f"Next             zqc debug {model} {moved} --images {pictures}"
    assert err.startswith("Checking q.onnx\n")
    broken = write_patches(moved, order=(1, 2, 0))
    code, out, _ = zqc("check", model, broken, "--images", pictures)
    assert (code, out.startswith("Verdict          broken: ")) == (0, True)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("least", "expected"), [(1, 0), (99, 3)])
def test_a_limit_sets_the_exit_code(zqc, model, moved, pictures, least, expected, as_json):
    """3 where it does not hold, with the whole result all the same, as text or as JSON."""
    command = ("check", model, moved, "--images", pictures, "--min-agreement", least)
    code, out, err = zqc(*command, *(["--json"] if as_json else []))
    assert code == expected, err
    assert "Error" not in err
    if as_json:
        (limit,) = json.loads(out)["limits"]
        assert (limit["limit"], limit["met"]) == (least, expected == 0)
        assert json.loads(out)["verdict"]["word"] == "usable with care"
    else:
        said = f"--min-agreement {least}: {'does not hold' if expected else 'holds'}"
        assert f"Limit            {said}" in out


def test_a_drop_sets_the_exit_code(zqc, tmp_path, model, moved, pictures):
    """Likewise with labels; a dataset's YAML brings its pictures along."""
    labels = write_coco(tmp_path / "l.json", PATCHES)
    command = ("check", model, moved, "--labels", labels, "--images", pictures)
    assert zqc(*command, "--max-drop", 0)[0] == 3
    assert zqc(*command, "--max-drop", 100)[0] == 0
    data = write_yolo(tmp_path / "data", PATCHES)
    code, out, err = zqc("check", model, moved, "--labels", data, "--max-drop", 0)
    assert code == 3, err
    assert "Float model      AP " in out
    assert "Difference       -" in out


def test_files_are_written(zqc, tmp_path, model, moved, pictures):
    """JUnit, Markdown and the report, also where a limit does not hold, and nothing beside them."""
    folder = tmp_path / "out"
    folder.mkdir()
    files = [folder / name for name in ("junit.xml", "summary.md", "report.html")]
    options = zip(("--junit", "--markdown", "--report"), files, strict=True)
    written = [word for option in options for word in option]
    code, _, err = zqc("check", model, moved, "--images", pictures, "--min-agreement", 99, *written)
    assert code == 3, err
    assert entries(folder) == ["junit.xml", "report.html", "summary.md"]
    root = ElementTree.parse(files[0]).getroot()
    assert (root.get("name"), root.get("tests"), root.get("failures")) == ("q.onnx", "2", "1")
    assert files[1].read_text().startswith("### ⚠️ q.onnx: usable with care\n")
    html = files[2].read_text()
    assert html.startswith("<!doctype html>") or html.startswith("<!DOCTYPE html>")
    assert "data:image/" in html


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--report"])
def test_a_file_that_cannot_be_written_fails_before_any_work(
    zqc, tmp_path, model, moved, pictures, monkeypatch, option
):
    """No picture is looked at where the folder is missing, or the file is one that is read."""
    monkeypatch.setattr(checker, "check", lambda *_, **__: pytest.fail("it worked"))
    command = ("check", model, moved, "--images", pictures, option)
    code, out, err = zqc(*command, tmp_path / "none" / "file")
    assert (code, out) == (1, "")
    assert "make it first" in err
    before = model.read_bytes()
    code, _, err = zqc(*command, model)
    assert code == 1
    assert f"the output {model} is the input" in err
    assert model.read_bytes() == before
    assert zqc(*command, pictures / "0.png")[0] == 1


def test_two_outputs_are_two_files(zqc, tmp_path, model, moved, pictures):
    """One would overwrite the other."""
    file = tmp_path / "both"
    command = ("check", model, moved, "--images", pictures, "--junit", file, "--markdown", file)
    code, _, err = zqc(*command)
    assert (code, file.exists()) == (1, False)
    assert "two outputs are one file" in err


@pytest.mark.parametrize("option", ["--images", "--labels"])
def test_a_check_that_ends_in_an_error(zqc, tmp_path, model, moved, pictures, option):
    """The JUnit file tells it, as one of an earlier check could say that all is well; no other."""
    files = [tmp_path / name for name in ("junit.xml", "summary.md")]
    for file in files:
        file.write_text("before")
    (tmp_path / "broken.json").write_text("{")
    given = {"--images": pictures, "--labels": tmp_path / "broken.json"}
    if option == "--images":
        given = {"--images": tmp_path / "no"}
    command = [word for pair in given.items() for word in pair]
    code, _, err = zqc("check", model, moved, *command, "--junit", files[0], "--markdown", files[1])
    (case,) = ElementTree.parse(files[0]).getroot()
    error = case.find("error")
    assert (code, files[1].read_text()) == (1, "before")
    told = f"{files[0]} was written, {files[1]} is still the old one"
    assert err.splitlines()[-1] == f"Error: {error.get('message')}; {told}"
    assert error.get("type") == {"--images": "ImageError", "--labels": "LabelError"}[option]


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--report"])
def test_files_appear_whole_or_not_at_all(
    zqc, tmp_path, model, moved, pictures, monkeypatch, option
):
    """A disk that is full while a file is written leaves the one from before, and no other."""

    def no_space(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "file.html").write_text("before")
    monkeypatch.setattr(os, "fsync", no_space)
    code, out, err = zqc("check", model, moved, "--images", pictures, option, folder / "file.html")
    assert (code, out) == (1, "")
    assert "no space left" in err
    assert entries(folder) == ["file.html"]
    assert (folder / "file.html").read_text() == "before"


def test_without_pictures(zqc, model):
    """Some are made, as few as are wanted; the next step is to look at real ones."""
    code, out, err = zqc("check", model, model, "--limit", 2)
    assert code == 0, err
    assert "Pictures         2 pictures of structured noise" in out
    assert f"Next             zqc check {model} {model} --images DIR" in out


def test_options_reach_the_library(zqc, model, moved, pictures, tmp_path, monkeypatch):
    """Each as it was meant."""
    seen = {}

    def record(first, second, **options):
        seen.update(options, models=(first, second))
        raise checker.OptionError("enough")

    monkeypatch.setattr(checker, "check", record)
    options = (
        "--labels l.json --limit 7 --names cat,dog --anchors a.npy --decoder d.toml --fit stretch "
        "--min-agreement 90 --max-drop 1.5 --input-range=-1:1 --bgr --input-shape 32x48 "
        "--input factor=1,2 --threads 2 --report r.html"
    )
    code, _, err = zqc("check", model, moved, "--images", pictures, *options.split())
    assert (code, err.splitlines()[-1]) == (1, "Error: enough")
    assert seen.pop("models") == (model, moved)
    assert {key: str(seen.pop(key)) for key in ("images", "labels", "anchors", "report")} == {
        "images": str(pictures),
        "labels": "l.json",
        "anchors": "a.npy",
        "report": "r.html",
    }
    del seen["progress"]
    assert seen == {
        "limit": 7,
        "names": "cat,dog",
        "decoder": "d.toml",
        "fit": "stretch",
        "min_agreement": 90,
        "max_drop": 1.5,
        "input_format": InputFormat((-1.0,), (1.0,), bgr=True),
        "input_shape": (32, 48),
        "inputs": {"factor": (1.0, 2.0)},
        "threads": 2,
    }


@pytest.mark.parametrize("words", [["--limit", "0"], ["--fit", "crop"], ["--min-agreement", "x"]])
def test_values_that_mean_nothing_are_refused(zqc, model, words):
    """As a wrong command line, with the option."""
    code, _, err = zqc("check", model, model, *words)
    assert (code, words[0] in err) == (2, True)
