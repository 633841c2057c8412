"""Many evaluations, independent of each other, on the cores of this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from zqc.diagnosis.cache import Cache
from zqc.diagnosis.effects import Bench, Effect, effects_of
from zqc.diagnosis.variants import Quantizable, Variant
from zqc.progress import Task
from zqc.runtime.workers import workers


def evaluated(
    subject: Quantizable,
    bench: Bench,
    variants: Sequence[Variant],
    *,
    cache: Cache,
    task: Task,
    jobs: int | None = None,
    dask: str | None = None,
) -> list[Effect]:
    """Evaluate variants, each on one thread; where and in which order makes no difference.

    Args:
        subject: What they are variants of.
        bench: What they are evaluated on.
        variants: The variants.
        cache: Effects that are known already; those that are found join them at once.
        task: Advanced by the variants.
        jobs: How many at once; as many as there are cores by default.
        dask: Address of a Dask scheduler whose workers do it, instead of this process.

    Returns:
        The effect of each.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
        OptionError: No scheduler answers.
        MissingPackageError: A cluster is asked for, and the package for it is not installed.
    """
    from joblib import Parallel, cpu_count, delayed

    left = list({v.key: v for v in variants if v.key not in cache}.values())
    task.advance(steps=len(variants) - len(left))
    with workers(dask, (subject, bench)):
        work = (delayed(_keyed)(subject, bench, variant) for variant in left)
        if left:
            # Threads: ONNX Runtime leaves Python free while it computes.
            pool = Parallel(jobs or cpu_count(), prefer="threads", return_as="generator_unordered")
            for key, effect in pool(work):
                cache.add(key, effect)
                task.advance()
    return [cache[variant.key] for variant in variants]


def hash_of(subject: Quantizable, bench: Bench) -> str:
    """A text that differs where an effect could: the model, its quantization or the pictures."""
    digest = sha256(subject.content)
    said = (sorted(subject.grids.items()), subject.constants, type(bench.convention).__name__)
    digest.update(repr(said).encode())
    for form, layers in sorted(subject.parameters.items()):
        for name, parameters in sorted(layers.items()):
            digest.update(f"{form} {name}".encode())
            for array in (parameters.weight, parameters.bias):
                digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    for batch in bench.batches:
        digest.update(np.ascontiguousarray(batch).tobytes())
    return digest.hexdigest()


def _keyed(subject: Quantizable, bench: Bench, variant: Variant) -> tuple[str, Effect]:
    (effect,) = effects_of(subject, bench, [variant])
    return variant.key, effect
