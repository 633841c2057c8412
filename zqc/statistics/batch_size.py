"""How many pictures a part of a network may be run with at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from zqc.errors import RuntimeFailure
from zqc.pictures.model_input import fixed_batch
from zqc.runtime import session
from zqc.statistics.network import matched_part

_SHARE, _ROUNDING = 1e-3, 1e-5
"""How far values may be off: of what they differ by from picture to picture, and of themselves.

Rounding is a millionth of a value; a picture that is seen in another's place is off by all that
the two differ by.
"""


def own_batch(model: ir.Model) -> int:
    """How many pictures a model is run with where nothing is known of other numbers."""
    return fixed_batch(model) or 1


def takes_any_batch(
    model: ir.Model,
    wanted: Sequence[str],
    picture: tuple[int, int, int],
    *,
    threads: int | None = None,
) -> bool:
    """Whether values come out the same whatever number of pictures the model is run with.

    A model that was exported for one picture may say so in the sizes of a Resize, in constants, in
    an axis that is squeezed away: some of it fails with two pictures, and some mixes them in
    silence. So it is tried: a few different random pictures (two, or three where the model was
    exported for two) have to give what each of them gives in a batch of the model's own size.

    Args:
        model: The model; it is not changed.
        wanted: Names of values whose axis 0 is that of the pictures, or a multiple of it.
        picture: Shape of a picture, (C, H, W).
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: The model does not even run at its own batch size.
    """
    own = own_batch(model)
    count = 3 if own == 2 else 2
    generator = np.random.default_rng(0)
    pictures = generator.uniform(0, 1, (count, *picture)).astype(np.float32)
    pictures *= (np.arange(count, dtype=np.float32) + 1).reshape(-1, 1, 1, 1) / count
    alone, names = matched_part(model, wanted, (own, *picture))
    run = session.load(alone, threads=threads)
    source = alone.graph.inputs[0].name or ""
    batches = [np.resize(pictures[i : i + own], (own, *picture)) for i in range(0, count, own)]
    parts = [run({source: batch}) for batch in batches]
    apart = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    together, _ = matched_part(model, wanted, (count, *picture))
    if not _as_well_known(alone.graph, together.graph):
        return False
    try:
        found = session.load(together, threads=threads)({source: pictures})
    except RuntimeFailure:
        return False
    rows = len(batches) * own
    return all(_equal(found[name], apart[name], count, rows) for name in _names(names))


def _names(values: Mapping[str, ir.Value]) -> list[str]:
    return [value.name or "" for value in values.values()]


def _as_well_known(alone: ir.Graph, together: ir.Graph) -> bool:
    """Whether every shape that is known for the model's own batch size is for the other, too."""
    known = {v.name for node in together for v in node.outputs if _is_static(v)}
    return all(v.name in known for node in alone for v in node.outputs if _is_static(v))


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and value.shape.is_static()


def _equal(found: NDArray[np.generic], apart: NDArray[np.generic], count: int, rows: int) -> bool:
    """Whether a batch of pictures gives the first rows of what they give on their own."""
    if found.ndim == 0 or len(apart) % rows or len(found) * rows != len(apart) * count:
        return False
    values, expected = (array.astype(np.float64) for array in (found, apart[: len(found)]))
    if values.shape != expected.shape:
        return False
    by_picture = expected.reshape(count, -1)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is not equal
        differ = np.linalg.norm(by_picture - by_picture.mean(axis=0))
        allowed = _SHARE * differ + _ROUNDING * np.linalg.norm(expected)
        return bool(np.linalg.norm(values - expected) <= allowed)
