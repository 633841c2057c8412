"""Where a synthesis stopped, as a file, so that it can go on to the same bytes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zqc.errors import OptionError
from zqc.pictures.input_format import InputFormat
from zqc.statistics.batchnorm import LayerStatistics
from zqc.synthesis.loop import Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.state import State
from zqc.version import __version__

NAME = "checkpoint.npz"

_OPTIONS = "zqc_options"
"""The array that holds the options as JSON, beside those of the state."""

_ANEW = "leave out --resume to begin anew"


def options_of(
    sha256: str,
    layers: Sequence[LayerStatistics],
    picture: tuple[int, int, int],
    input_format: InputFormat,
    schedule: Schedule,
    objective: Objective,
) -> dict[str, Any]:
    """Everything that decides what the pictures become, by name, as JSON has it.

    Args:
        sha256: Hash of the model's file.
        layers: The statistics, of which a hash is kept.
        picture: Shape of one picture, (C, H, W).
        input_format: The input convention.
        schedule: Number of pictures, steps and seed.
        objective: Terms of the loss and augmentation.
    """
    named = {
        "version": __version__,
        "model": sha256,
        "statistics": _hash(layers),
        "picture": picture,
        "input_format": asdict(input_format),
        **asdict(schedule),
        **asdict(objective),
    }
    plain: dict[str, Any] = json.loads(json.dumps(named))
    return plain


def write(file: Path | BinaryIO, state: State, options: dict[str, Any]) -> None:
    """Write where a synthesis stands, with the options that it is made with."""
    arrays: dict[str, Any] = state.to_arrays() | {_OPTIONS: np.array(json.dumps(options))}
    np.savez(file, **arrays)


def read(file: Path, options: dict[str, Any], schedule: Schedule) -> State:
    """Read where a synthesis of the same options stopped.

    Raises:
        OptionError: There is no such file, it cannot be read, or it was made with other options.
    """
    if not file.is_file():
        raise OptionError(
            f"nothing to resume: there is no {file}, which an interrupted synthesis leaves; {_ANEW}"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            _check(file, json.loads(str(archive[_OPTIONS])), options)
            arrays = {name: archive[name] for name in archive.files if name != _OPTIONS}
            return State.from_arrays(arrays, schedule.sizes)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OptionError(f"cannot resume from {file}, which is damaged; {_ANEW}") from error


def is_checkpoint(file: Path) -> bool:
    """Whether a file was written by ``write``, as far as its list of arrays shows."""
    try:
        with zipfile.ZipFile(file) as archive:
            return f"{_OPTIONS}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _check(file: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    for name in (*now, *then):
        if then.get(name) != now.get(name):
            raise OptionError(
                f"cannot resume from {file}: {name.replace('_', ' ')} was {_text(then.get(name))} "
                f"and is {_text(now.get(name))} now; give the same model and options, or {_ANEW}"
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _hash(layers: Sequence[LayerStatistics]) -> str:
    digest = hashlib.sha256()
    for layer in layers:
        digest.update(layer.output.encode())
        for values in (layer.mean, layer.deviation):
            digest.update(np.ascontiguousarray(values, np.float64).tobytes())
    return digest.hexdigest()
