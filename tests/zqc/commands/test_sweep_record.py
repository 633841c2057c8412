"""What a folder says of a sweep; what is made of it, ``test_sweep`` proves."""

import dataclasses
import math
from pathlib import Path

import pytest

from zqc.commands import sweep_record as module
from zqc.commands.sweep_result import Run

HERE = Path("here")


def run(size, sqnr_db=20.0, **more):
    """A run with a file of so many bytes."""
    return Run(values={"bits": size}, recipe=str(size), bytes=size, sqnr_db=sqnr_db, **more)


def test_a_record_gives_the_runs_back():
    """Under the key that it was written with alone, wherever the folder is by then.

    Infinities become unknown.
    """
    runs = (run(3, output=Path("there") / "a.onnx", sha256="1"), run(4, error="no"))
    text = module._written("model", "key", runs)
    assert module._model_of(text) == "model"
    assert module._runs_of(text, "other", HERE) == ()
    assert module._runs_of(text, "key", HERE) == (
        dataclasses.replace(runs[0], output=HERE / "a.onnx"),
        runs[1],
    )
    endless = module._written("model", "key", [run(1, sqnr_db=math.inf)])
    assert module._runs_of(endless, "key", HERE)[0].sqnr_db is None


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "{", '{"key": "key"}', '{"key": "key", "runs": [1]}']
)
def test_what_is_no_record_holds_no_runs(text):
    """A file that somebody has changed costs time, not an error."""
    assert module._runs_of(text, "key", HERE) == ()
    assert module._model_of(text) == ""


def test_what_changes_in_a_folder_of_pictures_changes_the_key(tmp_path):
    """A file, one in a folder below, or where a link leads; a link to nowhere is no error."""
    (tmp_path / "below").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    seen = {module._stamp(tmp_path)}
    (tmp_path / "below" / "a.png").write_bytes(b"1")
    seen.add(module._stamp(tmp_path))
    (tmp_path / "missing").write_bytes(b"12")
    seen.add(module._stamp(tmp_path))
    assert len(seen) == 3
