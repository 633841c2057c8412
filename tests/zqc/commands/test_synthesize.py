"""``zqc synthesize``: what its folder holds, and that Ctrl-C costs nothing."""

import json
import pydoc
import signal
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from tests import nets
from zqc.commands import compile as compiler
from zqc.commands import kept_pictures
from zqc.commands.compile import compile_model
from zqc.commands.synthesize import synthesize_to
from zqc.errors import (
    NoBatchNormError,
    OptionError,
    OutputError,
    RuntimeFailure,
    UnsupportedOperatorError,
)
from zqc.pictures.input_format import InputFormat
from zqc.progress import Silent
from zqc.recipe.recipe import Recipe
from zqc.report import pictures
from zqc.report.curves import draw_gaps, draw_losses
from zqc.synthesis.loop import Loop, Schedule

SAMPLES, STEPS = 6, 4  # six batches of one picture: a wave of four and one of two
PICTURES = [f"00{index}.png" for index in range(SAMPLES)]
REPORT = [
    f"report/{name}"
    for name in ("contact_sheet.png", "loss.png", "statistics.json", "statistics_gap.png")
]
FOLDER = [*PICTURES, "pictures.npz", *REPORT]
QUICK = ["--samples", SAMPLES, "--threads", 1]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Four steps are enough to be interrupted."""

    def schedule(recipe, _):
        return Schedule(recipe.samples, STEPS, batch=1, seed=recipe.seed)

    monkeypatch.setattr("zqc.commands.synthesis_job.schedule", schedule)
    monkeypatch.setattr(compiler, "median_latencies", lambda runners, feeds: [2.0, 1.0])


@pytest.fixture(autouse=True)
def quick_plots(monkeypatch):
    """Drawing takes longer than all the rest; the numbers that would be drawn do as well."""
    for name in ("draw_losses", "draw_gaps"):
        monkeypatch.setattr(pictures, name, lambda path, values, _: path.write_text(repr(values)))


@pytest.fixture
def real_plots(quick_plots, monkeypatch):
    """What a user gets."""
    for function in (draw_losses, draw_gaps):
        monkeypatch.setattr(pictures, function.__name__, function)


@pytest.fixture
def interrupt_at(monkeypatch):
    """Let Ctrl-C come with the n-th step of a batch; never, if that is None."""
    step = Loop._stepped

    def install(number):
        calls = iter(range(1, 10**9))

        def stepped(self, *arguments):
            if next(calls) == number:
                raise KeyboardInterrupt
            return step(self, *arguments)

        monkeypatch.setattr(Loop, "_stepped", stepped)

    return install


@pytest.fixture
def overflowing_file(tmp_path):
    """The file of a model whose numbers overflow."""
    proto = nets.detector()
    for tensor in proto.graph.initializer:
        if tensor.name == "scale":
            tensor.CopyFrom(numpy_helper.from_array(np.full(8, 1e20, np.float32), "scale"))
    path = tmp_path / "overflowing.onnx"
    onnx.save(proto, path)
    return path


def recipe(**options):
    """Six pictures and four steps, in a convention that need not be searched."""
    given = {"samples": SAMPLES, "input_format": InputFormat(), **options}
    return Recipe(**given)


def made(model, directory, *, threads=1, **options):
    """Synthesise into a folder."""
    places = {
        name: options.pop(name) for name in ("resume", "progress", "cache") if name in options
    }
    return synthesize_to(model, directory, recipe=recipe(**options), threads=threads, **places)


def contents(folder):
    """Everything in a folder and below it, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_folder(detector_file, tmp_path, real_plots):
    """Pictures, tensors, and a report whose numbers are those of the result; no checkpoint."""
    result = made(detector_file, tmp_path / "out", seed=7)
    assert list(contents(result.directory)) == FOLDER
    assert (result.stopped, result.checkpoint) == (None, None)
    report = json.loads((result.directory / "report" / "statistics.json").read_text())
    assert report["stopped"] is None
    assert len(report["losses"]) == STEPS + 1
    assert (report["losses"][0], report["losses"][-1]) == (result.first_loss, result.last_loss)
    (layer,) = report["layers"]
    assert result.last_loss == pytest.approx(layer["mean"] ** 2 + layer["deviation"] ** 2)
    for name in ("loss", "statistics_gap"):
        assert Image.open(result.directory / "report" / f"{name}.png").width == 800
    assert (report["options"]["seed"], report["options"]["steps"]) == (7, STEPS)
    assert report["options"]["terms"] == "both"


def test_the_same_command_gives_the_same_files(detector_file, tmp_path, real_plots):
    """Every file of two folders is the same, byte for byte, and a folder may be made again."""
    folders = [tmp_path / name for name in ("one", "two", "one")]
    for folder in folders:
        made(detector_file, folder)
    assert contents(folders[0]) == contents(folders[1])


@pytest.mark.parametrize("number", [1, 2, 3 * SAMPLES, 2 * SAMPLES + 5, 2 * SAMPLES + 1])
def test_resumed_is_as_if_nothing_had_happened(detector_file, tmp_path, interrupt_at, number):
    """Wherever Ctrl-C comes, in a wave, between two, between passes: the bytes are the same."""
    whole, folder = tmp_path / "whole", tmp_path / "resumed"
    made(detector_file, whole)
    interrupt_at(number)
    result = made(detector_file, folder)
    steps = (number - 1) // SAMPLES
    assert result.stopped == f"interrupted after {steps} of {STEPS} steps"
    assert result.checkpoint == folder / "checkpoint.npz"
    assert sorted(contents(folder)) == sorted([*FOLDER, "checkpoint.npz"])
    interrupt_at(None)
    result = made(detector_file, folder, resume=True, threads=2)
    assert (result.stopped, result.checkpoint) == (None, None)
    assert contents(folder) == contents(whole)


def test_interrupted_again_and_again(detector_file, tmp_path, interrupt_at):
    """A run that is stopped in every pass comes to the same end."""
    whole, folder = tmp_path / "whole", tmp_path / "resumed"
    made(detector_file, whole)
    resume = False
    for _ in range(STEPS):
        interrupt_at(5)
        assert made(detector_file, folder, resume=resume).stopped
        resume = True
    interrupt_at(None)
    made(detector_file, folder, resume=True)
    assert contents(folder) == contents(whole)


def test_a_real_signal(detector_file, tmp_path):
    """SIGINT while the progress is shown ends the work after the pass in hand."""

    class Interrupting(Silent):
        """Sends the signal after two passes."""

        done = 0

        def advance(self, note="", steps=1):
            self.done += steps
            if self.done == 2:
                signal.raise_signal(signal.SIGINT)

        def task(self, name, total):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    result = made(detector_file, tmp_path / "out", progress=Interrupting())
    assert result.stopped == f"interrupted after 2 of {STEPS} steps"


def test_the_pictures_so_far_are_pictures(detector_file, tmp_path, interrupt_at):
    """What an interrupted run leaves can be calibrated with."""
    interrupt_at(15)
    folder = made(detector_file, tmp_path / "out").directory
    output = tmp_path / "out.onnx"
    result = compile_model(detector_file, output, recipe=recipe(), images=folder, threads=1)
    assert result.calibration.startswith(f"{SAMPLES} pictures")


@pytest.mark.parametrize(
    ("place", "drawn"),
    [
        ("zqc.synthesis.loop.Loop.measure", True),
        ("zqc.commands.synthesize.write_pictures", False),
        ("zqc.commands.synthesize.write_sheet", False),
        ("zqc.commands.synthesize.write_course", False),
    ],
)
def test_ctrl_c_when_the_pictures_are_finished(detector_file, tmp_path, monkeypatch, place, drawn):
    """Whatever is done with them then: they are written, whole, and a message says so."""
    reference = contents(made(detector_file, tmp_path / "reference").directory)
    module, _, name = place.rpartition(".")
    holder = pydoc.locate(module)
    function, calls = getattr(holder, name), []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        first = 2 if name == "measure" else 1  # the first pictures are measured, too
        if len(calls) == first:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    monkeypatch.setattr(place, interrupted)
    with pytest.raises(KeyboardInterrupt, match="out holds the finished pictures"):
        made(detector_file, tmp_path / "out")
    found = contents(tmp_path / "out")
    assert {name: found[name] for name in [*PICTURES, "pictures.npz"]} == {
        name: reference[name] for name in [*PICTURES, "pictures.npz"]
    }
    assert list(found) == (FOLDER if drawn else [*PICTURES, "pictures.npz"])
    assert made(detector_file, tmp_path / "out").stopped is None
    assert contents(tmp_path / "out") == reference


@pytest.mark.parametrize("stage", ["write_sheet", "write_course"])
def test_a_report_that_cannot_be_drawn(detector_file, tmp_path, monkeypatch, caplog, stage):
    """The pictures are there without it, over those of before with theirs, and the log says so."""

    def fails(*arguments, **options):
        raise MemoryError("no room for a plot")

    made(detector_file, tmp_path / "out")
    monkeypatch.setattr(f"zqc.commands.synthesize.{stage}", fails)
    result = made(detector_file, tmp_path / "out", seed=1)
    assert (result.stopped, list(contents(tmp_path / "out"))) == (None, [*PICTURES, "pictures.npz"])
    assert "could not be drawn: no room for a plot" in caplog.text


def test_a_folder_that_cannot_be_replaced_is_refused_at_once(detector_file, tmp_path, monkeypatch):
    """Other files in it, also more pictures than will be written, or too little space."""

    def works(*arguments, **options):
        pytest.fail("the work began")

    made(detector_file, tmp_path / "out")
    monkeypatch.setattr("zqc.commands.synthesize.synthesize", works)
    with pytest.raises(OutputError, match=r"holds other files \(005.png\)"):
        made(detector_file, tmp_path / "out", samples=5)
    with pytest.raises(OutputError, match=r"is a file; give the name of a folder"):
        made(detector_file, detector_file)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=r"no space left for .*out: about 23\.0 kB are needed"):
        made(detector_file, tmp_path / "out")


@pytest.mark.parametrize("stage", ["write_pictures", "checkpoint.write"])
def test_ctrl_c_while_files_are_written(detector_file, tmp_path, interrupt_at, monkeypatch, stage):
    """One Ctrl-C after the other loses what is new, and leaves the folder of before as it was."""
    folder = tmp_path / "out"
    interrupt_at(9)
    made(detector_file, folder)
    before = contents(tmp_path)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    interrupt_at(15)
    monkeypatch.setattr(f"zqc.commands.synthesize.{stage}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made(detector_file, folder, resume=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("resume", [True, False])
def test_a_kill_goes_on(detector_file, tmp_path, monkeypatch, resume):
    """Where it stands is kept elsewhere, and forgotten once there are pictures: the same bytes."""
    folder, reference = tmp_path / "out", tmp_path / "reference"
    made(detector_file, reference, cache=False)
    monkeypatch.setattr(kept_pictures, "_SECONDS", 0.0)
    monkeypatch.setattr(kept_pictures, "_SHARE", 1e9)
    step, begun = Loop._stepped, []

    def killed(self, state, *arguments):
        begun.append(state.iteration)
        if len(begun) == 15:
            raise SystemExit  # as little is done about it as about a kill
        return step(self, state, *arguments)

    monkeypatch.setattr(Loop, "_stepped", killed)
    with pytest.raises(SystemExit):
        made(detector_file, folder)
    assert not folder.exists()
    begun.append(None)
    made(detector_file, folder, resume=resume)
    assert begun[begun.index(None) + 1] == 2
    assert contents(folder) == contents(reference)
    with pytest.raises(OptionError, match="nothing to resume"):
        made(detector_file, tmp_path / "again", resume=True)


def test_begun_anew_over_an_interrupted_run(detector_file, tmp_path, interrupt_at):
    """Without --resume, an old checkpoint is no obstacle; one of somebody else's is."""
    folder = tmp_path / "out"
    interrupt_at(9)
    made(detector_file, folder)
    interrupt_at(None)
    made(detector_file, folder, seed=1)
    assert list(contents(folder)) == FOLDER
    np.savez(folder / "checkpoint.npz", weights=np.zeros(3))
    with pytest.raises(OutputError, match=r"other files \(checkpoint\.npz\)"):
        made(detector_file, folder, seed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "seed was 0 and is 1 now"),
        ({"samples": 5, "seed": 1}, "samples was 6 and is 5 now"),
        ({"bn_terms": "mean"}, "terms was both and is mean now"),
        ({"tie_channels": True}, "tie channels was false and is true now"),
        ({"input_format": InputFormat.from_range(-1, 1)}, "input format was"),
    ],
)
def test_other_options_cannot_be_resumed(detector_file, tmp_path, interrupt_at, options, words):
    """The first option that differs is named, and the folder stays as it is."""
    folder = tmp_path / "out"
    interrupt_at(9)
    made(detector_file, folder)
    before = contents(tmp_path)
    with pytest.raises(OptionError, match=words) as error:
        made(detector_file, folder, resume=True, **options)
    assert "leave out --resume" in str(error.value)
    assert contents(tmp_path) == before


def test_another_model_cannot_be_resumed(detector_file, tmp_path, interrupt_at):
    """The pictures of one model are not continued with another."""
    interrupt_at(9)
    made(detector_file, tmp_path / "out")
    onnx.save(nets.detector(seed=1), detector_file)
    with pytest.raises(OptionError, match=r"out/checkpoint\.npz: model was"):
        made(detector_file, tmp_path / "out", resume=True)


def test_nothing_to_resume(detector_file, tmp_path):
    """Without a checkpoint, or with nothing to compute, --resume is refused."""
    with pytest.raises(OptionError, match="nothing to resume: there is no"):
        made(detector_file, tmp_path / "out", resume=True)
    made(detector_file, tmp_path / "out")
    with pytest.raises(OptionError, match="nothing to resume"):
        made(detector_file, tmp_path / "out", resume=True)
    with pytest.raises(OptionError, match="structured noise is made at once"):
        synthesize_to(detector_file, tmp_path / "out", no_statistics=True, resume=True)


def test_a_run_that_diverges(overflowing_file, tmp_path, real_plots):
    """The last good pictures are written, without a checkpoint: it would only happen again."""
    result = made(overflowing_file, tmp_path / "out")
    assert result.stopped.startswith("diverged at step 1")
    assert result.checkpoint is None
    assert list(contents(result.directory)) == FOLDER
    with np.load(result.directory / "pictures.npz") as archive:
        assert np.isfinite(archive["images"]).all()
    text = (result.directory / "report" / "statistics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["stopped"] == result.stopped


def test_compile_is_all_or_nothing(detector_file, overflowing_file, tmp_path, interrupt_at):
    """A compilation does not go on with half-made pictures."""
    with pytest.raises(RuntimeFailure, match="diverged at step 1"):
        compile_model(overflowing_file, recipe=recipe(), threads=1)
    interrupt_at(9)
    with pytest.raises(KeyboardInterrupt):
        compile_model(detector_file, recipe=recipe(), threads=1)
    assert sorted(contents(tmp_path)) == ["detector.onnx", "overflowing.onnx"]


def test_interrupted_on_the_command_line(zqc, detector_file, tmp_path, interrupt_at):
    """One line says what happened, what there is and how to go on; then it goes on."""
    folder = tmp_path / "out"
    interrupt_at(15)
    code, out, err = zqc("synthesize", detector_file, "-o", folder, *QUICK)
    assert (code, out) == (130, "")
    line = err.splitlines()[-1]
    assert line.startswith("Error: interrupted after 2 of 4 steps; ")
    for part in (str(folder), "pictures so far", "a checkpoint", "--resume"):
        assert part in line
    interrupt_at(None)
    code, out, err = zqc("synthesize", detector_file, "-o", folder, *QUICK, "--resume")
    assert code == 0, err
    assert "Loss" in out
    code, out, err = zqc("compile", detector_file, "-o", tmp_path / "a.onnx", *QUICK)
    assert code == 0, err
    compile_other = ("compile", detector_file, "-o", tmp_path / "b.onnx", *QUICK, "--seed", 1)
    said = "Error: interrupted after 1 of 4 steps, nothing was written"
    for option, goes_on in (["--no-cache"], ""), ([], "; the same command goes on from there"):
        interrupt_at(9)
        code, out, err = zqc(*compile_other, *option)
        assert (code, out, err.splitlines()[-1]) == (130, "", said + goes_on)
    interrupt_at(None)
    code, out, err = zqc(*compile_other)
    assert (code, "earlier command stopped: 1 of 4 steps" in err) == (0, True)


def test_stopped_as_json(zqc, detector_file, overflowing_file, tmp_path, interrupt_at):
    """Standard output has one object: the result, with the error where there was one."""
    command = ("synthesize", detector_file, "-o", tmp_path / "out", *QUICK, "--json")
    interrupt_at(9)
    code, out, _ = zqc(*command)
    result = json.loads(out, parse_constant=pytest.fail)
    assert code == 130
    assert result["stopped"] == "interrupted after 1 of 4 steps"
    assert result["checkpoint"] == str(tmp_path / "out" / "checkpoint.npz")
    assert result["error"]["type"] == "Interrupted"
    assert "--resume" in result["error"]["message"]
    interrupt_at(None)
    result = json.loads(zqc(*command, "--resume")[1])
    assert (result["stopped"], result["checkpoint"]) == (None, None)
    assert "error" not in result
    code, out, _ = zqc(
        "synthesize", overflowing_file, "-o", tmp_path / "o", *QUICK, "--json", "--input-range=0:1"
    )
    result = json.loads(out, parse_constant=pytest.fail)
    assert code == 1
    assert result["error"]["type"] == "RuntimeFailure"
    assert result["error"]["message"].startswith(result["stopped"])
    assert result["checkpoint"] is None


def test_a_model_with_one_channel(zqc, tmp_path):
    """Grey pictures are made, written as such, and compiled with, as they are or as PNG."""
    model, folder = tmp_path / "grey.onnx", tmp_path / "out"
    onnx.save(nets.detector(channels=1), model)
    code, _, err = zqc("synthesize", model, "-o", folder, *QUICK)
    assert code == 0, err
    for name in ("000.png", "report/contact_sheet.png"):
        assert Image.open(folder / name).mode == "L"
    for images in ([], ["--images", folder], ["--images", folder / "pictures.npz"]):
        code, out, err = zqc("compile", model, "-o", tmp_path / "out.onnx", *images, *QUICK)
        assert code == 0, err
        assert "Integer kernels  3/3" in out


@pytest.mark.parametrize("source", [[], ["--no-statistics"]])
def test_tied_channels(zqc, detector_file, tmp_path, source):
    """With --tie-channels all channels of a picture are one but for rounding, in any convention."""
    normalised = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
    options = [*QUICK, *normalised, *source]
    for name, tie in (("grey", ["--tie-channels"]), ("coloured", [])):
        code, _, err = zqc("synthesize", detector_file, "-o", tmp_path / name, *options, *tie)
        assert code == 0, err
        pixels = np.asarray(Image.open(tmp_path / name / "000.png")).astype(int)
        assert pixels.shape == (16, 16, 3)
        assert (np.ptp(pixels, axis=2).max() <= 1) == bool(tie)


@pytest.mark.parametrize("terms", ["mean", "std"])
def test_terms(zqc, detector_file, tmp_path, terms):
    """With --bn-terms the loss is that of means or of standard deviations alone."""
    options = [*QUICK, "--bn-terms", terms, "--json"]
    code, out, err = zqc("synthesize", detector_file, "-o", tmp_path / "out", *options)
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report" / "statistics.json").read_text())
    gap = report["layers"][0]["mean" if terms == "mean" else "deviation"]
    assert json.loads(out)["last_loss"] == pytest.approx(gap**2)


@pytest.mark.parametrize(
    ("proto", "error"),
    [
        (nets.without_batch_norm, NoBatchNormError),
        (nets.without_gradient, UnsupportedOperatorError),
    ],
)
def test_there_is_nothing_to_synthesise_from(tmp_path, proto, error):
    """A folder of noise is written only for who asks for noise."""
    onnx.save(proto(), tmp_path / "m.onnx")
    recipe = Recipe(samples=2, effort="quick", input_format=InputFormat())
    given = {"recipe": recipe, "threads": 1}
    with pytest.raises(error, match="--no-statistics"):
        synthesize_to(tmp_path / "m.onnx", tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()
    assert synthesize_to(tmp_path / "m.onnx", tmp_path / "out", no_statistics=True, **given).count
