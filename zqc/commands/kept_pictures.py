"""Synthesised pictures that are kept, so that compiling again begins with them.

``zqc synthesize``, whose folder has its pictures, keeps only where it stands.

A synthesis is known by all that its pictures depend on, see ``_options``. While it works, where it
stands is kept as well, so that one that was interrupted, or killed, goes on to the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.errors import RuntimeFailure
from zqc.files.store import Store
from zqc.pictures.model_input import picture_shape
from zqc.runtime import machine
from zqc.synthesis import checkpoint
from zqc.synthesis.generate import synthesize
from zqc.synthesis.labels import Labels

if TYPE_CHECKING:
    from zqc.commands.synthesis_job import SynthesisJob
    from zqc.detection.losses.assignment import Objects
    from zqc.model_io.model_file import LoadedModel
    from zqc.pictures.input_format import InputFormat
    from zqc.progress import Progress
    from zqc.synthesis.loop import Schedule
    from zqc.synthesis.state import State

_SECONDS, _SHARE = 2.0, 0.01
"""How often it is kept where a synthesis stands: at most, and in which share of its time."""

_OPTIONS, _TENSORS, _LOSSES = "zqc_options", "tensors", "losses"


@dataclass(frozen=True)
class Pictures:
    """Synthesised pictures.

    Attributes:
        tensors: Input tensors, shape (N, C, H, W).
        losses: Loss of the whole set before the first and after each pass over it.
        labels: What each picture shows, where it was synthesised for that; else empty.
        kept: Whether they are from an earlier compilation.
    """

    tensors: NDArray[np.float32]
    losses: tuple[float, ...]
    labels: tuple[Objects, ...] = ()
    kept: bool = False


def synthesised(
    loaded: LoadedModel,
    job: SynthesisJob,
    input_format: InputFormat,
    *,
    store: Store | None,
    progress: Progress,
    threads: int | None,
    afterwards: Callable[[float], float],
) -> Pictures:
    """Return the pictures that are kept, or synthesise them, from where that was interrupted.

    Args:
        loaded: The model.
        job: What they are synthesised with.
        input_format: How pixels become input values.
        store: Where they are kept; None to begin anew and to keep nothing.
        progress: Where the synthesis reports to.
        threads: Threads of ONNX Runtime.
        afterwards: See ``synthesize``.

    Raises:
        KeyboardInterrupt: Ctrl-C came; the message says what is kept.
        RuntimeFailure: It diverged, or ONNX Runtime failed.
    """
    kept = Kept.of(loaded, job, input_format, store)
    if (found := kept.pictures()) is not None:
        progress.say(f"Taking {len(found.tensors)} pictures from the cache")
        return found
    state = kept.state(progress)

    def keep(state: State, stopped: str | None) -> None:
        if stopped is None:
            kept.now_and_then(state)
            return
        on = "; the same command goes on from there" if kept.keep_state(state) else ""
        raise KeyboardInterrupt(f"{stopped}, nothing was written{on}")

    made = synthesize(
        loaded.model,
        job.reach.layers,
        picture=picture_shape(loaded.model),
        input_format=input_format,
        schedule=job.schedule,
        objective=job.objective,
        progress=progress,
        detector=job.loss,
        threads=threads,
        state=state,
        afterwards=afterwards,
        keep=keep,
    )
    if made.stopped is not None:
        raise RuntimeFailure(made.stopped)
    pictures = Pictures(made.tensors, made.losses, made.labels)
    late = made.interrupted
    try:
        there = kept.keep_pictures(pictures, made.state)
    except KeyboardInterrupt:
        late, there = True, kept.keep_pictures(pictures, made.state)
    if late:
        on = "; the same command goes on from the finished pictures" if there else ""
        raise KeyboardInterrupt(f"interrupted, nothing was written{on}")
    return pictures


class Kept:
    """What there is of one synthesis, in a store.

    Args:
        store: The store; None to find nothing and to keep nothing.
        options: All that its pictures depend on.
        schedule: Its number of pictures and steps.
    """

    def __init__(self, store: Store | None, options: dict[str, Any], schedule: Schedule) -> None:
        self._store, self._options, self._schedule = store, options, schedule
        key = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()
        self._pictures, self._state = f"{key}.npz", f"{key}.{checkpoint.NAME}"
        self._kept_at, self._seconds = time.monotonic(), 0.0

    @classmethod
    def of(
        cls, loaded: LoadedModel, job: SynthesisJob, input_format: InputFormat, store: Store | None
    ) -> Kept:
        """What there is of a synthesis of a model.

        Args:
            loaded: The model.
            job: What its pictures are synthesised with.
            input_format: How pixels become input values.
            store: See the class.
        """
        options = {} if store is None else _options(loaded, job, input_format)
        return cls(store, options, job.schedule)

    def pictures(self) -> Pictures | None:
        """The pictures, where they are finished."""
        return self._store.read(self._pictures, self._read) if self._store else None

    def state(self, progress: Progress) -> State | None:
        """Where the synthesis stands, if it was begun, which is said then."""
        if self._store is None:
            return None
        schedule = self._schedule
        found = self._store.read(
            self._state, lambda path: checkpoint.read(path, self._options, schedule)
        )
        if found is not None:
            done = f"{found.iteration} of {schedule.passes}"
            progress.say(f"Going on where an earlier command stopped: {done} steps are done")
        return found

    def now_and_then(self, state: State) -> None:
        """Keep where the synthesis stands, unless that was done a moment ago."""
        began = time.monotonic()
        if began - self._kept_at >= max(_SECONDS, self._seconds / _SHARE):
            self.keep_state(state)
            self._kept_at = time.monotonic()
            self._seconds = self._kept_at - began

    def keep_state(self, state: State) -> bool:
        """Keep where the synthesis stands; whether that can be found again."""
        if self._store is None:
            return False
        return self._store.write(
            self._state, lambda file: checkpoint.write(file, state, self._options)
        )

    def forget_state(self) -> None:
        """Forget where a synthesis stands that is finished, or kept elsewhere."""
        if self._store is not None:
            self._store.remove(self._state)

    def keep_pictures(self, pictures: Pictures, state: State) -> bool:
        """Keep the pictures that a synthesis ended with, in the place of where it stands.

        Returns:
            Whether they can be found again.
        """
        if self._store is None:
            return False
        labels = Labels.joined(state.labels).to_arrays() if state.labels else {}
        arrays: dict[str, Any] = {
            _OPTIONS: np.array(json.dumps(self._options)),
            _TENSORS: pictures.tensors,
            _LOSSES: np.array(pictures.losses),
            **labels,
        }

        def write(file: BinaryIO) -> None:
            np.savez(file, **arrays)

        there = self._store.write(self._pictures, write)
        if there:
            self.forget_state()
        return there

    def _read(self, path: Path) -> Pictures:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if json.loads(str(arrays[_OPTIONS])) != self._options:
            raise ValueError("it was made with other options")
        labels = Labels.joined(Labels.from_arrays(arrays)).objects
        losses = tuple(map(float, arrays[_LOSSES]))
        return Pictures(arrays[_TENSORS].astype(np.float32), losses, labels, kept=True)


def _options(loaded: LoadedModel, job: SynthesisJob, input_format: InputFormat) -> dict[str, Any]:
    """Everything that decides what the pictures become.

    The model is the one that is worked on, in which the file, the values of its other inputs and
    what was simplified are. Kernels differ by processor, and so may their last bits.
    """
    content = ir.to_proto(loaded.model).SerializeToString(deterministic=True)
    options = checkpoint.options_of(
        hashlib.sha256(content).hexdigest(),
        job.reach.layers,
        picture_shape(loaded.model),
        input_format,
        job.schedule,
        job.objective,
    )
    return options | machine.fingerprint() | {"detector": _detector(job)}


def _detector(job: SynthesisJob) -> str:
    """What pictures that show objects depend on besides."""
    if job.loss is None or job.detector is None:
        return ""
    loss = job.loss
    with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
        return repr((job.detector.convention, loss.outputs, loss.classes, loss.size, loss.gains))
