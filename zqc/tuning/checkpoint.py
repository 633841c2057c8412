"""Where a training stands, kept so that one that was cut short goes on to the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.runtime import machine
from zqc.version import __version__

if TYPE_CHECKING:
    from zqc.detection.losses.assignment import Objects
    from zqc.files.store import Store
    from zqc.tuning.objective import Objective
    from zqc.tuning.schedule import Schedule
    from zqc.tuning.step import Graphs

Arrays = dict[str, NDArray[np.float32]]

_LOSSES = ("first", "least")


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    Attributes:
        step: Steps that are done.
        state: The parameters and their moments, by name.
        best: The parameters with the least loss so far, by name.
        first: Each part of the loss on the pictures that are held out, before the first step.
        least: The same with ``best``.
        interrupted: Whether Ctrl-C was what ended the training here.
    """

    step: int
    state: Arrays
    best: Arrays
    first: tuple[float, ...]
    least: tuple[float, ...]
    interrupted: bool = False


class Checkpoint:
    """Where one training stands, in a store.

    Args:
        store: Where it is kept; None for nowhere.
        key: What the training is known by, see ``key_of``.
    """

    def __init__(self, store: Store | None, key: str) -> None:
        self._store, self._name = store, f"{key}.npz"

    def read(self) -> Standing | None:
        """Where an earlier training stopped; None where there is none."""
        return None if self._store is None else self._store.read(self._name, _read)

    def write(self, standing: Standing) -> bool:
        """Keep where the training stands; whether it can be found again."""
        if self._store is None:
            return False

        def write(file: BinaryIO) -> None:
            _write(file, standing)

        return self._store.write(self._name, write)

    def remove(self) -> None:
        """Forget a training that has come to its end."""
        if self._store is not None:
            self._store.remove(self._name)


def key_of(
    graphs: Graphs,
    schedule: Schedule,
    objective: Objective,
    size: int,
    seed: int,
    pictures: Iterable[NDArray[np.float32]],
    labels: Iterable[Objects | None] = (),
) -> str:
    """Return a hash of all that a training depends on."""
    options = asdict(schedule) | asdict(objective) | machine.fingerprint()
    options |= {"version": __version__, "size": size, "seed": seed}
    if graphs.detector is not None:
        options["gains"] = repr(graphs.detector.gains)
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for model in (graphs.step, graphs.measure):
        digest.update(ir.to_proto(model).SerializeToString(deterministic=True))
    for array in (*(parameter.start for parameter in graphs.parameters), *pictures):
        digest.update(np.ascontiguousarray(array).tobytes())
    for one in labels:
        digest.update(b"?" if one is None else one.boxes.tobytes() + one.classes.tobytes())
    return digest.hexdigest()


def _write(file: BinaryIO, standing: Standing) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        "step": np.array(standing.step),
        **{name: np.array(getattr(standing, name), np.float64) for name in _LOSSES},
    }
    for part in ("state", "best"):
        named: Mapping[str, NDArray[np.float32]] = getattr(standing, part)
        arrays[part] = np.array(list(named))
        arrays |= {f"{part}{i}": array for i, array in enumerate(named.values())}
    np.savez(file, allow_pickle=False, **arrays)


def _read(path: Path) -> Standing:
    with np.load(path, allow_pickle=False) as archive:
        first, least = (tuple(archive[name].tolist()) for name in _LOSSES)
        state, best = (_named(archive, part) for part in ("state", "best"))
        return Standing(int(archive["step"]), state, best, first, least)


def _named(archive: Mapping[str, NDArray[np.float32]], part: str) -> Arrays:
    names: Sequence[str] = archive[part].tolist()
    return {name: archive[f"{part}{i}"] for i, name in enumerate(names)}
