"""Checkpoints: what is written is read again, and nothing else is taken for one."""

import numpy as np
import pytest

from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis import checkpoint
from zqc.synthesis.loop import Schedule
from zqc.synthesis.objective import MOMENTS, STATE, Objective
from zqc.synthesis.state import State

SCHEDULE = Schedule(samples=5, steps=9, batch=2)
CHANNELS = 7


def layers(mean=0.5):
    """Statistics of one layer."""
    return [LayerStatistics("a", np.full(CHANNELS, mean), np.ones(CHANNELS))]


def options(schedule=SCHEDULE, objective=Objective(), statistics=None, **changes):  # noqa: B008
    """Options of a run."""
    named = {
        "sha256": "0f3a",
        "layers": statistics or layers(),
        "picture": (3, 8, 6),
        "input_format": InputFormat(),
        "schedule": schedule,
        "objective": objective,
    }
    return checkpoint.options_of(**(named | changes))


def state():
    """A state in the middle of a pass, all of its numbers different."""
    rng = np.random.default_rng(0)
    made = State.start(
        rng.random((sum(SCHEDULE.sizes), *(3, 8, 6)), dtype=np.float32), SCHEDULE.sizes, CHANNELS
    )
    arrays = made.to_arrays()
    for name in (*STATE[1:], *MOMENTS):
        arrays[name] = rng.normal(size=arrays[name].shape).astype(arrays[name].dtype)
    arrays["losses"] = np.array([2.0, 1 / 3, np.pi])
    arrays["progress"] = np.array([2, 1])
    return State.from_arrays(arrays, SCHEDULE.sizes)


@pytest.fixture
def file(tmp_path):
    """A checkpoint."""
    path = tmp_path / checkpoint.NAME
    checkpoint.write(path, state(), options())
    return path


def test_read_again(file):
    """Every number of the state comes back, bit for bit and of its type."""
    read = checkpoint.read(file, options(), SCHEDULE).to_arrays()
    expected = state().to_arrays()
    assert read.keys() == expected.keys()
    for name, array in expected.items():
        assert (read[name].dtype, read[name].tobytes()) == (array.dtype, array.tobytes()), name


def test_the_same_state_is_the_same_bytes(file, tmp_path):
    """Neither a date nor anything else gets in."""
    again = tmp_path / "again.npz"
    checkpoint.write(again, state(), options())
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "77c1"}, "model was 0f3a and is 77c1 now"),
        ({"statistics": layers(0.25)}, "statistics was"),
        ({"picture": (3, 8, 8)}, r"picture was \[3, 8, 6\] and is \[3, 8, 8\] now"),
        ({"input_format": InputFormat(bgr=True)}, "input format was"),
        ({"schedule": Schedule(samples=5, steps=8, batch=2)}, "steps was 9 and is 8 now"),
        ({"objective": Objective(margin=4)}, "margin was 0 and is 4 now"),
        ({"objective": Objective(terms="std")}, "terms was both and is std now"),
    ],
)
def test_every_option_counts(file, changes, words):
    """What would change the pictures is noticed and named with both values."""
    with pytest.raises(OptionError, match=words) as error:
        checkpoint.read(file, options(**changes), SCHEDULE)
    assert str(file) in str(error.value)


def test_another_version_is_named(file):
    """A checkpoint of another version of zqc is not continued, whatever that one knew."""
    old = options() | {"version": "0.0.1", "gone": 3}
    checkpoint.write(file, state(), old)
    with pytest.raises(OptionError, match=r"version was 0\.0\.1"):
        checkpoint.read(file, options(), SCHEDULE)
    checkpoint.write(file, state(), options() | {"gone": 3})
    with pytest.raises(OptionError, match="gone was 3 and is null now"):
        checkpoint.read(file, options(), SCHEDULE)


def cut(path):
    """The first half of a file, as a full disk leaves it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """One byte of the pictures is another."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def foreign(path):
    """An archive of somebody else."""
    np.savez(path, weights=np.zeros(3))


def text(path):
    """No archive at all."""
    path.write_text("checkpoint")


def objects(path):
    """An archive that would run code."""
    np.savez(path, zqc_options=np.array([print], object))


@pytest.mark.parametrize("damage", [cut, flipped, foreign, text, objects])
def test_damaged(file, damage):
    """What is no sound checkpoint is said to be none."""
    damage(file)
    with pytest.raises(OptionError, match="damaged; leave out --resume"):
        checkpoint.read(file, options(), SCHEDULE)


def test_missing(tmp_path):
    """A checkpoint that is not there is named."""
    with pytest.raises(OptionError, match=r"there is no .*checkpoint\.npz"):
        checkpoint.read(tmp_path / checkpoint.NAME, options(), SCHEDULE)


def test_is_checkpoint(file, tmp_path):
    """Only what zqc has written is taken for its own."""
    assert checkpoint.is_checkpoint(file)
    for damage in (foreign, text):
        damage(file)
        assert not checkpoint.is_checkpoint(file)
    assert not checkpoint.is_checkpoint(tmp_path / "missing")
    assert not checkpoint.is_checkpoint(tmp_path)
