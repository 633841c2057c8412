"""What a folder says of a sweep's files in it, so that another one need not make them again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from zqc.commands.arguments import check_output
from zqc.commands.sweep_result import Run
from zqc.commands.sweep_work import Judge
from zqc.errors import OutputError
from zqc.files.atomic import write_text
from zqc.report.json_text import json_text
from zqc.version import __version__

NAME = "sweep.json"

_NO_RECORD = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What comes of reading something else."""


@dataclass(frozen=True)
class Record:
    """What a folder says of the files in it.

    Attributes:
        path: Its file.
        model: Hash of the float model.
        key: All else that the runs have in common.
        done: The runs by their recipes.
    """

    path: Path
    model: str
    key: str
    done: dict[str, Run]

    @classmethod
    def of(cls, folder: Path, model: str, key: str) -> Record:
        """What earlier sweeps have made, if the files are still there.

        Args:
            folder: The folder of the files.
            model: Hash of the float model.
            key: See ``key_of``.

        Raises:
            OutputError: They were of another model.
        """
        path = folder / NAME
        check_output(path)
        text = ""
        with suppress(OSError, UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
        if _model_of(text) not in ("", model):
            raise OutputError(
                f"folder {folder} holds a sweep of another model; give another folder with -o"
            )
        runs = _runs_of(text, key, folder)
        return cls(path, model, key, {run.recipe: run for run in runs if _is_there(run)})

    def add(self, run: Run) -> None:
        """Keep a run."""
        self.done[run.recipe] = run
        write_text(self.path, _written(self.model, self.key, self.done.values()))


def key_of(options: Mapping[str, Any], judge: Judge) -> str:
    """All that runs depend on beside the model and their recipes."""
    used = {name: options[name] for name in options if name not in ("memory", "cache")}
    decoder = options["decoder"]
    if decoder is not None and Path(decoder).is_file():
        used["decoder"] = Path(decoder)
    said = [__version__, *(f"{name}={_stamp(value)}" for name, value in used.items())]
    said += [_stamp(judge.images), _stamp(judge.labels)]
    return sha256("\n".join(said).encode()).hexdigest()


def _stamp(value: object) -> str:
    """A text that differs where a file, or one in a folder, has become another."""
    if isinstance(value, Path):
        files = sorted(value.rglob("*")) if value.is_dir() else [value]
        return f"{value.resolve()} {[(str(file), _stat(file)) for file in files]}"
    if isinstance(value, np.ndarray):
        return sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    return repr(value)


def _stat(file: Path) -> tuple[int, int] | None:
    """Size and time of a file; nothing of one that is not there, as a link may lead nowhere."""
    with suppress(OSError):
        status = file.stat()
        return status.st_size, status.st_mtime_ns
    return None


def _is_there(run: Run) -> bool:
    """Whether the file of a run is what it was."""
    with suppress(OSError):
        return run.output is not None and sha256(run.output.read_bytes()).hexdigest() == run.sha256
    return False


def _written(model: str, key: str, runs: Iterable[Run]) -> str:
    """What a folder says of the runs in it, for a sweep that goes on.

    Args:
        model: Hash of the float model.
        key: Hash of all else that they share.
        runs: The runs; their files are named without the folder, which may be moved.
    """
    named = [replace(run, output=run.output and Path(run.output.name)) for run in runs]
    return json_text({"model": model, "key": key, "runs": named}) + "\n"


def _model_of(text: str) -> str:
    """The hash of the float model; empty where there is none."""
    try:
        return str(json.loads(text)["model"])
    except _NO_RECORD:
        return ""


def _runs_of(text: str, key: str, folder: Path) -> tuple[Run, ...]:
    """The runs in a folder that were made under the same key; none where it cannot be read."""
    try:
        table = json.loads(text)
        if table["key"] != key:
            return ()
        names = {field.name for field in fields(Run)}
        return tuple(
            Run(**{k: v for k, v in run.items() if k in names} | _places(run, folder))
            for run in table["runs"]
        )
    except _NO_RECORD:
        return ()


def _places(run: Mapping[str, Any], folder: Path) -> dict[str, Path | None]:
    output = run["output"]
    return {"output": None if output is None else folder / Path(output).name}
