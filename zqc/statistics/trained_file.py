"""Statistics of a model from a checkpoint, and what to say where that cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from zqc.errors import StatisticsError
from zqc.statistics.files.kinds import Kind, read_weights
from zqc.statistics.lending import Lent, lend
from zqc.statistics.trained_layers import norms_of

_NAMED = 3
"""Of the layers that were not found, so many are named."""


def lent_by(file: Path, kind: Kind, model: ir.Model) -> Lent:
    """Find the statistics of a model in a file of trained weights.

    Of several networks in it (the averaged one and that which is trained) the one that says most.

    Raises:
        StatisticsError: The file cannot be used, has no BatchNorm, is of another network, or of
            this one at another time of its training.
    """
    networks = [weights for weights in read_weights(file, kind) if norms_of(weights)]
    if not networks:
        raise StatisticsError(
            f"{file} has no running means and variances of BatchNorm: it was saved after they were "
            "folded, or its network has none; give the checkpoint as training left it"
        )
    best: Lent | None = None
    for weights in networks:
        lent = lend(weights, model)
        if best is None or len(lent.used) > len(best.used):
            best = lent
        if not best.unused:
            break
    assert best is not None  # there was one
    if best.contradicted and len(best.contradicted) >= len(best.used):
        raise StatisticsError(
            f"{file} and the model have the same weights before {best.contradicted[0]}"
            f"{_and_more(len(best.contradicted) - 1)}, but other statistics behind them: one of "
            "the two was trained further; give the checkpoint that the model was exported from"
        )
    if not best.layers:
        raise StatisticsError(
            f"none of the {len(best.unused)} BatchNorm layers of {file} stands behind weights of "
            "the model: it is of another network, or one of the two was trained further; give the "
            "checkpoint that the model was exported from"
        )
    return best


def counted(found: int, left: Sequence[str], file: Path, *, what: str = "BatchNorm layers") -> str:
    """Say how many of the layers of a file were found, and which were not.

    Args:
        found: How many were found.
        left: The names of all others.
        file: Where they are from.
        what: What they are.
    """
    text = f"{found} of {found + len(left)} {what} of {file}"
    if not left:
        return text
    return f"{text}; not matched: {', '.join(left[:_NAMED])}{_and_more(len(left) - _NAMED)}"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
