"""Synthesised pictures are kept: taken again where nothing they depend on is different."""

import json

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests import nets
from tests.zqc.synthesis.small_detector import detector
from zqc.commands import kept_pictures
from zqc.commands.inputs import CalibrationSource, begin
from zqc.commands.kept_pictures import synthesised
from zqc.commands.synthesis_job import synthesis_job
from zqc.files.store import Store
from zqc.pictures.input_format import InputFormat
from zqc.progress import Lines, Silent
from zqc.recipe.recipe import Recipe
from zqc.synthesis.loop import Loop, Schedule


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Four steps are enough to be interrupted."""

    def schedule(recipe, _):
        sampling = 3 if recipe.task_specific else 0
        return Schedule(recipe.samples, 4, batch=1, seed=recipe.seed, sampling=sampling)

    monkeypatch.setattr("zqc.commands.synthesis_job.schedule", schedule)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def model(tmp_path):
    """The file of a detector whose loss is known."""
    ir.save(detector(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def made(source, store, *, progress=None, **options):
    """Pictures of a model, kept or synthesised."""
    given = {"samples": 3, "input_format": InputFormat(), **options}
    recipe = Recipe(**given)
    loaded, origin, form, _ = begin(source, recipe, CalibrationSource(), 1)
    progress = progress or Silent()
    job = synthesis_job(loaded, origin, recipe, progress=progress, threads=1)
    return synthesised(
        loaded, job, form, store=store, progress=progress, threads=1, afterwards=lambda _: 0.0
    )


def names(tmp_path):
    """What the store has: the last part of each name."""
    return sorted(path.name[64:] for path in (tmp_path / "store").iterdir())


def alike(one, other):
    """Whether two sets of pictures are the same, byte for byte, with losses and labels."""
    labels = [
        [(each.boxes.tobytes(), each.classes.tobytes()) for each in found.labels]
        for found in (one, other)
    ]
    return (
        one.tensors.tobytes() == other.tensors.tobytes()
        and one.losses == other.losses
        and labels[0] == labels[1]
    )


def interrupted_at(monkeypatch, number, error=KeyboardInterrupt):
    """Let Ctrl-C come with the n-th step of a batch."""
    step, calls = Loop._stepped, iter(range(1, 10**9))

    def stepped(self, *arguments):
        if next(calls) == number:
            raise error
        return step(self, *arguments)

    monkeypatch.setattr(Loop, "_stepped", stepped)


@pytest.mark.parametrize("task_specific", [False, True])
def test_a_second_time_nothing_is_synthesised(model, store, tmp_path, monkeypatch, task_specific):
    """The same pictures, losses and labels come from the store, whatever else is different."""
    first = made(model, store, task_specific=task_specific)
    assert (first.kept, bool(first.labels)) == (False, task_specific)
    monkeypatch.setattr(kept_pictures, "synthesize", lambda *_, **__: pytest.fail("again"))
    again = made(model, store, task_specific=task_specific, bits=4, target="openvino")
    assert again.kept
    assert again.tensors.dtype == np.float32
    assert alike(first, again)
    assert names(tmp_path) == [".npz"]


OTHER = {
    "seed": {"seed": 1},
    "number": {"samples": 2},
    "terms": {"bn_terms": "mean"},
    "channels": {"tie_channels": True},
    "labels": {"task_specific": True},
    "range": {"input_format": InputFormat.from_range(-1, 1)},
}


@pytest.mark.parametrize("options", OTHER.values(), ids=OTHER)
def test_what_the_pictures_depend_on(model, store, options):
    """Any option that changes them makes other ones."""
    made(model, store)
    assert not made(model, store, **options).kept


@pytest.mark.parametrize(
    "place", ["zqc.synthesis.checkpoint.__version__", "zqc.runtime.session.version"]
)
def test_other_versions_make_other_pictures(model, store, monkeypatch, place):
    """Of zqc, and of ONNX Runtime."""
    made(model, store)
    monkeypatch.setattr(place, "9.9" if place.endswith("__") else lambda: "9.9")
    assert not made(model, store).kept


def test_it_is_the_content_of_the_model_that_counts(store, tmp_path):
    """Another name makes no difference; another size of the input, or other weights, do."""
    first = nets.detector(height="H", width="W")
    onnx.save(first, tmp_path / "a.onnx")
    assert not made(tmp_path / "a.onnx", store, input_shape=(16, 16)).kept
    (tmp_path / "a.onnx").rename(tmp_path / "b.onnx")
    assert made(tmp_path / "b.onnx", store, input_shape=(16, 16)).kept
    assert made(first, store, input_shape=(16, 16)).kept
    assert not made(first, store, input_shape=(16, 24)).kept
    assert not made(nets.detector(height="H", width="W", seed=1), store, input_shape=(16, 16)).kept


@pytest.mark.parametrize("task_specific", [False, True])
@pytest.mark.parametrize("number", [1, 5, 12])
def test_ctrl_c_goes_on(model, store, tmp_path, monkeypatch, number, task_specific):
    """What was done is kept, a message says so, and the pictures become the same ones."""
    reference = made(model, None, task_specific=task_specific)
    with monkeypatch.context() as patch:
        interrupted_at(patch, number)
        steps = f"interrupted after {(number - 1) // 3} of {len(reference.losses) - 1}"
        message = r"interrupted after \d+ of \d+ steps, nothing was written; the same command goes"
        with pytest.raises(KeyboardInterrupt, match=message) as caught:
            made(model, store, task_specific=task_specific)
        assert task_specific or str(caught.value).startswith(steps)
    assert names(tmp_path) == [".checkpoint.npz"]
    begun = []
    advance = Loop.advance
    monkeypatch.setattr(
        Loop, "advance", lambda self, state: begun.append(state.iteration) or advance(self, state)
    )
    assert alike(made(model, store, task_specific=task_specific), reference)
    assert begun[0] == (number - 1) // 3
    assert names(tmp_path) == [".npz"]


def test_a_kill_goes_on(model, store, tmp_path, monkeypatch, capsys):
    """Where it stands is kept now and then, so that a run that ends without a word goes on."""
    reference = made(model, None)
    monkeypatch.setattr(kept_pictures, "_SECONDS", 0.0)
    monkeypatch.setattr(kept_pictures, "_SHARE", 1e9)
    with monkeypatch.context() as patch:
        interrupted_at(patch, 8, SystemExit)  # as little is done about it as about a kill
        with pytest.raises(SystemExit):
            made(model, store)
    assert names(tmp_path) == [".checkpoint.npz"]
    stream = (tmp_path / "err").open("w")
    assert alike(made(model, store, progress=Lines(stream)), reference)
    stream.close()
    said = (tmp_path / "err").read_text()
    assert "Going on where an earlier command stopped: 2 of 4 steps are done\n" in said


def test_it_is_not_kept_too_often(model, store, monkeypatch):
    """Not before some seconds have passed, and the share of the time that it takes stays small."""
    kept = []
    monkeypatch.setattr(kept_pictures, "_SECONDS", 1e9)
    monkeypatch.setattr(
        kept_pictures.checkpoint, "write", lambda *arguments: kept.append(arguments)
    )
    made(model, store)
    assert kept == []
    monkeypatch.setattr(kept_pictures, "_SECONDS", 0.0)
    monkeypatch.setattr(kept_pictures, "_SHARE", 1e-9)
    made(model, store, seed=1)
    assert len(kept) == 1  # the first one tells how long it takes


def test_ctrl_c_when_they_are_finished(model, store, monkeypatch):
    """The pictures are kept all the same."""
    measure, calls = Loop.measure, iter(range(1, 100))

    def interrupted(self, state):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return measure(self, state)

    monkeypatch.setattr(Loop, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt, match="goes on from the finished pictures"):
        made(model, store)
    assert made(model, store).kept


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "other options"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_file_is_no_error(model, store, tmp_path, monkeypatch, damage, finished):
    """Whatever stands there instead, the pictures are the right ones, and are kept again."""
    if finished:
        reference = made(model, store)
    else:
        reference = made(model, None)
        with monkeypatch.context() as patch:
            interrupted_at(patch, 8)
            with pytest.raises(KeyboardInterrupt):
                made(model, store)
    (path,) = (tmp_path / "store").iterdir()
    content = path.read_bytes()
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["zqc_options"] = np.array(json.dumps({"seed": 5}))
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    changed = {"cut": content[:-100], "flipped": bytes(flipped), "empty": b"", "foreign": b"PK\3\4"}
    if damage == "other options":
        np.savez(path, **arrays)
    else:
        path.write_bytes(changed[damage])
    found = made(model, store)
    assert not found.kept
    assert alike(found, reference)
    assert made(model, store).kept


def test_where_nothing_can_be_kept(model, tmp_path, caplog, monkeypatch):
    """One line says so, the pictures are the same, and Ctrl-C promises nothing."""
    (tmp_path / "store").touch()
    reference = made(model, None)
    assert alike(made(model, Store(tmp_path / "store")), reference)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    interrupted_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt, match=r"steps, nothing was written$"):
        made(model, Store(tmp_path / "store"))
