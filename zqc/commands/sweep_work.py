"""The work of a sweep: one recipe compiled and judged, here or somewhere else, and all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from zqc.commands.check import check
from zqc.commands.compile import compile_model
from zqc.commands.sweep_result import Run
from zqc.errors import ZqcError
from zqc.files.atomic import atomic_write
from zqc.progress import Progress
from zqc.recipe.toml import to_toml
from zqc.recipe.variations import Variation
from zqc.runtime.workers import workers


@dataclass(frozen=True)
class Judge:
    """What all files are judged on.

    Attributes:
        images: A folder or file of pictures, or tensors (N, C, H, W).
        labels: Their labels, if there are any.
        text: What they are, in words.
    """

    images: Path | NDArray[np.float32]
    labels: Path | None
    text: str


@dataclass(frozen=True)
class Work:
    """One recipe to be compiled.

    Attributes:
        variation: The recipe, and what it is called.
        output: Where the file goes.
        options: The other arguments of ``zqc.compile``.
        size: Bytes of the float model.
    """

    variation: Variation
    output: Path
    options: Mapping[str, Any]
    size: int


@dataclass(frozen=True)
class Ended:
    """What comes of a piece of work.

    Attributes:
        run: The recipe, with what it is worth.
        content: The file, where it could not be written by whoever made it.
        interrupted: Whether Ctrl-C ended the learning, which kept the best so far.
    """

    run: Run
    content: bytes = b""
    interrupted: bool = False


def run_one(
    source: Path | onnx.ModelProto, judge: Judge, work: Work, progress: Progress | None = None
) -> Ended:
    """Compile one recipe and judge the file; what is wrong with the recipe stands in the run.

    Args:
        source: The float model: its path, or itself on a machine that has no such file.
        judge: What the file is judged on.
        work: The recipe.
        progress: Where to report; nowhere by default.
    """
    recipe, options = work.variation.recipe, work.options
    output = work.output if isinstance(source, Path) else None
    run = Run(values=work.variation.values, recipe=to_toml(recipe))
    try:
        result = compile_model(source, output, recipe=recipe, progress=progress, **options)
        seen = check(
            source,
            output or result.model,
            images=judge.images,
            labels=judge.labels,
            anchors=options["anchors"],
            decoder=options["decoder"],
            threads=options["threads"],
            progress=progress,
        )
    except ZqcError as error:
        return Ended(replace(run, error=str(error)))
    latency = result.latency_after_ms / result.latency_before_ms
    accuracy, agreed = seen.accuracy_quantized, seen.agreement
    run = replace(
        run,
        output=work.output,
        sha256=sha256(result.content).hexdigest(),
        precision=result.precision,
        verdict=seen.verdict.word,
        mean_ap=None if accuracy is None else accuracy.ap,
        agreement=None if agreed is None else agreed.ap,
        sqnr_db=min((part.sqnr_db for part in seen.parts), default=None),
        bytes=result.bytes_after,
        size=result.bytes_after / work.size,
        latency=latency if np.isfinite(latency) else None,
        learned=result.learned,
        seconds=result.seconds,
    )
    return Ended(run, b"" if output else result.content, result.interrupted)


def run_all(
    source: Path | onnx.ModelProto,
    judge: Judge,
    todo: Sequence[Work],
    *,
    jobs: int,
    dask: str | None,
    progress: Progress,
) -> Iterator[Run]:
    """Compile recipes, one after another, several at once or on a cluster.

    Args:
        source: The float model.
        judge: What the files are judged on.
        todo: The recipes.
        jobs: How many at once, each in a process of its own where there are several.
        dask: Address of a Dask scheduler whose workers do it instead.
        progress: Where one after another reports to.

    Yields:
        Each as soon as its file is there.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the learning of one, whose file is the best so far.
        ZqcError: A file cannot be written, or no scheduler answers.
    """
    if jobs == 1 and dask is None:
        yield from _written(run_one(source, judge, work, progress) for work in todo)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    # The workers of a cluster need not have the file of the model, and files are written here:
    # whoever is told what was written, if Ctrl-C comes, is told all of it.
    sent = onnx.load(source) if isinstance(source, Path) else source
    pool = Parallel(n_jobs=-1 if dask is not None else jobs, return_as="generator_unordered")
    try:
        with workers(dask, (sent, judge)):
            yield from _written(pool(delayed(run_one)(sent, judge, work) for work in todo))
    finally:
        # Idle processes would wait for more work, and the interpreter for them.
        get_reusable_executor().shutdown(kill_workers=True)


def _written(results: Iterable[Ended]) -> Iterator[Run]:
    """Write the files that are not there yet."""
    for ended in results:
        if ended.content and ended.run.output is not None:
            with atomic_write(ended.run.output) as file:
                file.write(ended.content)
        if ended.interrupted:  # the file is the best so far, and the run not finished
            raise KeyboardInterrupt
        yield ended.run
