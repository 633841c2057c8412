"""Many recipes for one model."""

import dataclasses
import json

import joblib
import numpy as np
import onnx
import pytest

import zqc
from tests import nets
from tests.heard import Heard
from zqc.commands import sweep as module
from zqc.commands import sweep_work as work
from zqc.commands.sweep_result import Run
from zqc.errors import ImageError, ModelError, OptionError, OutputError
from zqc.pictures.input_format import InputFormat

OPTIONS = {"input_format": InputFormat(), "equalization": "none", "threads": 1}
VARY = {"bits": (8, 4)}


@pytest.fixture(autouse=True)
def latencies(monkeypatch):
    """Latencies do not matter here."""
    monkeypatch.setattr(
        "zqc.commands.compile.median_latencies", lambda _runners, _feeds: [2.0, 1.0]
    )


@pytest.fixture
def pictures(tmp_path):
    """To calibrate with, and others to judge on."""
    rng = np.random.default_rng(3)
    for name in ("own", "others"):
        np.savez(tmp_path / f"{name}.npz", images=rng.uniform(0, 1, (3, 3, 16, 16)).astype("f4"))
    return {"images": tmp_path / "own.npz", "check_images": tmp_path / "others.npz"}


def contents(result):
    """The bytes of the files by name."""
    return {run.output.name: run.output.read_bytes() for run in result.runs}


def test_each_file_is_the_one_of_a_compilation(detector_file, pictures, tmp_path):
    """And is judged as ``zqc.check`` judges it, on the same pictures as all others."""
    vary = {"bits": (8, 4), "rounding": ("nearest",)}
    result = zqc.sweep(detector_file, vary=vary, **pictures, **OPTIONS)
    assert [run.values for run in result.runs] == [
        {"bits": bits, "rounding": "nearest"} for bits in (8, 4)
    ]
    assert result.output == tmp_path / "detector.sweep"
    assert result.failed == result.reused == 0
    for run in result.runs:
        alone = zqc.compile(
            detector_file,
            tmp_path / "alone.onnx",
            images=pictures["images"],
            **run.values,
            **OPTIONS,
        )
        assert run.output.read_bytes() == alone.content
        assert (run.bytes, run.precision) == (alone.bytes_after, alone.precision)
        seen = zqc.check(detector_file, run.output, images=pictures["check_images"], threads=1)
        assert run.verdict == seen.verdict.word
        assert run.sqnr_db == min(part.sqnr_db for part in seen.parts)
    assert result.runs[result.best].score == max(run.score for run in result.runs)
    assert sorted(path.name for path in result.output.iterdir()) == sorted(
        [*contents(result), "sweep.json"]
    )


def never(*_, **__):
    """What must not be called."""
    raise AssertionError("compiled again")


def test_what_is_there_is_not_made_again(detector_file, pictures, monkeypatch):
    """Unless a file has gone, or the pictures have changed; more values join those that are."""
    first = zqc.sweep(detector_file, vary={"bits": (8, 4)}, **pictures, **OPTIONS)
    real = work.compile_model
    monkeypatch.setattr(work, "compile_model", never)
    again = zqc.sweep(detector_file, vary={"bits": (8, 4)}, **pictures, **OPTIONS)
    assert (again.runs, again.best, again.reused) == (first.runs, first.best, 2)

    made = []

    def counted(*args, **options):
        made.append(options["recipe"].bits)
        return real(*args, **options)

    monkeypatch.setattr(work, "compile_model", counted)
    zqc.sweep(detector_file, vary={"bits": (3,)}, **pictures, **OPTIONS)
    more = zqc.sweep(detector_file, vary={"bits": (8, 4, 3)}, **pictures, **OPTIONS)
    assert (made, more.reused) == ([3], 3)
    more.runs[1].output.unlink()
    made.clear()
    mended = zqc.sweep(detector_file, vary={"bits": (8, 4)}, **pictures, **OPTIONS)
    assert contents(mended) == contents(first)
    assert made == [4]
    made.clear()
    others = np.random.default_rng(4).uniform(0, 1, (3, 3, 16, 16)).astype("f4")
    np.savez(pictures["images"], images=others)
    zqc.sweep(detector_file, vary={"bits": (8,)}, **pictures, **OPTIONS)
    assert made == [8]


def test_two_at_once_make_the_same_files(detector_file, pictures, tmp_path):
    """Each with its share of the cores; in threads here, as processes take long to start."""
    options = {k: v for k, v in OPTIONS.items() if k != "threads"}
    one = zqc.sweep(detector_file, tmp_path / "one", vary=VARY, **pictures, **OPTIONS)
    with joblib.parallel_config("threading"):
        two = zqc.sweep(detector_file, tmp_path / "two", vary=VARY, jobs=2, **pictures, **options)
    assert contents(two) == contents(one)


def test_a_cluster_makes_the_same_files(detector_file, pictures, tmp_path):
    """The model is sent to a worker, and what it makes comes back."""
    distributed = pytest.importorskip("distributed")
    vary = {"bits": (8,)}
    here = zqc.sweep(detector_file, tmp_path / "here", vary=vary, **pictures, **OPTIONS)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        there = zqc.sweep(
            detector_file,
            tmp_path / "there",
            vary=vary,
            dask=cluster.scheduler_address,
            **pictures,
            **OPTIONS,
        )
    assert contents(there) == contents(here)


def test_one_recipe_that_fails_leaves_the_others(detector_file, pictures, monkeypatch):
    """What is wrong with it is told in its place, and it is tried again the next time."""
    vary = {"target": ("ort-x86", "portable")}
    result = zqc.sweep(
        detector_file,
        vary=vary,
        weight_levels="auto",
        keep_float=("nowhere*",),
        **pictures,
        **OPTIONS,
    )
    assert result.failed == 2
    assert result.best is None
    assert all("nowhere*" in run.error for run in result.runs)
    assert not any(run.output for run in result.runs)


def test_a_model_in_memory(pictures, tmp_path):
    """It needs the name of a folder."""
    with pytest.raises(OptionError, match="no folder beside it"):
        zqc.sweep(nets.detector(), vary={"bits": (8,)}, **pictures, **OPTIONS)
    result = zqc.sweep(
        nets.detector(), tmp_path / "out", vary={"bits": (8,)}, **pictures, **OPTIONS
    )
    assert [path.name for path in (run.output for run in result.runs)] == ["model.bits-8.onnx"]
    onnx.checker.check_model(onnx.load(result.runs[0].output))


def test_pictures_to_judge_on_are_made(detector_file, pictures):
    """With a seed that no recipe has."""
    result = zqc.sweep(detector_file, vary={"seed": (4,)}, images=pictures["images"], **OPTIONS)
    assert "seed 20231" in result.judged_on
    more = zqc.sweep(detector_file, vary={"seed": (4, 9)}, images=pictures["images"], **OPTIONS)
    assert (more.judged_on, more.reused) == (result.judged_on, 1)
    assert "none is calibrated with" in result.judged_on


def interrupting(monkeypatch, *, after):
    """Let Ctrl-C come in the run behind so many; learning keeps the best of it then."""
    real, calls = work.run_one, []

    def run(*args):
        calls.append(args)
        assert len(calls) <= after + 1, "went on"
        return dataclasses.replace(real(*args), interrupted=len(calls) > after)

    monkeypatch.setattr(work, "run_one", run)


def test_ctrl_c_in_the_learning_ends_the_sweep(detector_file, pictures, monkeypatch, tmp_path):
    """What is finished stays; the run that was cut short goes on the next time."""
    with monkeypatch.context() as patched:
        interrupting(patched, after=1)
        vary, progress = {"bits": (8, 4, 3)}, Heard()
        with pytest.raises(KeyboardInterrupt):
            zqc.sweep(detector_file, vary=vary, progress=progress, **pictures, **OPTIONS)
    assert "the same command goes on" in progress.said[-1]
    folder = tmp_path / "detector.sweep"
    runs = json.loads((folder / "sweep.json").read_text())["runs"]
    assert [run["values"]["bits"] for run in runs] == [8]
    assert (folder / "detector.bits-4.onnx").exists()
    result = zqc.sweep(detector_file, vary={"bits": (8, 4, 3)}, **pictures, **OPTIONS)
    assert result.reused == 1


def test_ctrl_c_before_anything_is_finished_leaves_nothing(
    detector_file, pictures, monkeypatch, tmp_path
):
    """Not even the folder."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "compile_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zqc.sweep(detector_file, vary={"bits": (8,)}, **pictures, **OPTIONS)
    assert not (tmp_path / "detector.sweep").exists()


def test_each_run_is_told_when_it_is_done(detector_file, pictures):
    """Hours may lie between the first and the last one."""
    progress = Heard()
    zqc.sweep(detector_file, vary={"bits": (8, 4)}, progress=progress, **pictures, **OPTIONS)
    told = [line for line in progress.said if line.startswith("bits ")]
    assert len(told) == 2
    assert told[0].startswith("bits 8: ")


def test_a_run_is_told_by_what_it_is_ranked_by():
    """mAP, agreement, or SQNR; or what is wrong."""
    run = {"values": {"bits": 4}, "recipe": "", "size": 0.2, "seconds": 5.0, "sqnr_db": 21.0}
    assert module._told(Run(**run)) == "bits 4: 21.0 dB, size 0.200, 5 s"
    assert module._told(Run(**run, agreement=0.5)) == "bits 4: agreement 50.0%, size 0.200, 5 s"
    assert module._told(Run(**run, mean_ap=0.5)) == "bits 4: mAP 50.0%, size 0.200, 5 s"
    assert module._told(Run(**run, error="no")) == "bits 4: no"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"vary": {"bit": (8,)}}, OptionError, "did you mean bits?"),
        ({"jobs": 0}, OptionError, "1 or more"),
        ({"jobs": "2"}, OptionError, "1 or more"),
        ({"output": "detector.onnx"}, OutputError, "is a file"),
        ({"check_labels": "labels.json", "check_images": None}, OptionError, "give the pictures"),
        ({"check_images": "nowhere"}, ImageError, "nowhere"),
        ({"output": "no/folder"}, OutputError, "folder no does not exist"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_compiled(
    detector_file, pictures, monkeypatch, options, error, said
):
    """And leaves nothing behind."""
    monkeypatch.setattr(work, "compile_model", never)
    monkeypatch.chdir(detector_file.parent)
    before = sorted(detector_file.parent.iterdir())
    with pytest.raises(error, match=said):
        zqc.sweep(detector_file, **{"vary": {"bits": (8,)}, **pictures, **OPTIONS, **options})
    assert sorted(detector_file.parent.iterdir()) == before


def test_a_model_that_cannot_be_read_makes_no_folder(tmp_path, pictures):
    """One message, and nothing written."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError):
        zqc.sweep(path, vary={"bits": (8,)}, **pictures, **OPTIONS)
    assert not (tmp_path / "model.sweep").exists()


def test_a_folder_of_other_files_is_left_alone(detector_file, pictures, tmp_path):
    """A sweep shares its folder with nothing else."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        zqc.sweep(detector_file, folder, vary={"bits": (8,)}, **pictures, **OPTIONS)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_other_fields_find_the_same_recipe(detector_file, pictures, monkeypatch, tmp_path):
    """A file keeps its name, and is told by what is varied now; also in a folder that was moved."""
    first = zqc.sweep(detector_file, vary={"bits": (8, 4)}, **pictures, **OPTIONS)
    first.output.rename(tmp_path / "moved")
    made = []
    real = work.compile_model

    def counted(*args, **options):
        made.append(options["recipe"])
        return real(*args, **options)

    monkeypatch.setattr(work, "compile_model", counted)
    vary = {"bits": (8,), "rounding": ("auto", "nearest")}
    again = zqc.sweep(detector_file, tmp_path / "moved", vary=vary, **pictures, **OPTIONS)
    assert [run.values["rounding"] for run in again.runs] == ["auto", "nearest"]
    assert [recipe.rounding for recipe in made] == ["nearest"]
    assert again.runs[0].output == tmp_path / "moved" / "detector.bits-8.onnx"
    assert "nearest" in str(again)


def test_the_folder_of_another_model_is_left_alone(detector_file, pictures, tmp_path):
    """Or its files would be lost one by one."""
    zqc.sweep(detector_file, tmp_path / "out", vary={"bits": (8,)}, **pictures, **OPTIONS)
    other = nets.detector()
    other.graph.node[0].name = "renamed"
    onnx.save(other, detector_file)
    before = (tmp_path / "out" / "sweep.json").read_bytes()
    with pytest.raises(OutputError, match="a sweep of another model"):
        zqc.sweep(detector_file, tmp_path / "out", vary={"bits": (8,)}, **pictures, **OPTIONS)
    assert (tmp_path / "out" / "sweep.json").read_bytes() == before


def test_a_name_that_is_too_long_is_told_at_once(tmp_path, pictures, monkeypatch):
    """Before pictures are made, and nothing stays."""
    monkeypatch.setattr(module.inputs, "begin", never)
    path = tmp_path / f"{'m' * 240}.onnx"
    onnx.save(nets.detector(), path)
    with pytest.raises(OutputError, match="too long"):
        zqc.sweep(path, tmp_path / "out", vary={"bits": (8,), "seed": (0,)}, **pictures, **OPTIONS)
    assert not (tmp_path / "out").exists()
