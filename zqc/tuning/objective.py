"""What the loss of training is made of, and what its parts count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from zqc.recipe.recipe import Recipe

Part = Literal["features", "agreement", "detection", "heads"]

PARTS: tuple[Part, ...] = get_args(Part)
"""The parts of the loss, of which there are those that count and can be computed:

- features: the errors of quantized tensors (``distillation.loss``);
- agreement: how far candidates are from the float model's (``agreement_loss``);
- detection: the detector's own loss against labels (``detection_loss``);
- heads: the divergence of the last layers' outputs as distributions (``head_divergence``).
"""


@dataclass(frozen=True)
class Objective:
    """What the loss of training is made of.

    All parts but the features count what they are said to in multiples of the features' loss at the
    beginning, whatever unit they have; 0 leaves them out.

    Attributes:
        features: What the errors of tensors count.
        agreement: What the errors of detections count. Measured: as much as the tensors costs the
            example 2 AP, and a tenth does nothing for YOLOv3-tiny.
        detection: What the detector's own loss counts, against the labels of the pictures.
        heads: What the divergence of the heads counts.
        fisher: Whether the error of a channel counts by what the outputs lose by it, too; else by
            the variance of its tensor alone.
        filtered: Whether boxes of a low score or overlap count nothing for the agreement, see
            ``agreement_loss``.
        dampening: What the distances of weights to the middle of their rounding bins count at the
            end, see ``zqc.tuning.oscillation``; in the first half of the steps nothing.
        average: Whether the moving average of the parameters is looked at, too, and taken where it
            is better.
    """

    features: float = 1.0
    agreement: float = 0.3
    detection: float = 0.0
    heads: float = 0.0
    fisher: bool = True
    filtered: bool = True
    dampening: float = 0.0
    average: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Objective:
        """What a recipe asks for."""
        weights: dict[str, Any] = dict(recipe.loss_weights)
        return replace(USUAL, **weights, average=recipe.ema)

    def counts(self, part: Part) -> bool:
        """Whether a part is computed: the features are what the others are measured by."""
        return part == "features" or float(getattr(self, part)) > 0

    def weights(self, parts: Sequence[Part], first: Sequence[float]) -> tuple[float, ...]:
        """The factors of some parts, from what they are at the beginning; features come first."""
        return tuple(
            getattr(self, part) * (1.0 if part == "features" else first[0] / value)
            if value > 0
            else 0.0
            for part, value in zip(parts, first, strict=True)
        )


USUAL = Objective()
"""What is best of what was tried, see docs/results/learning.md."""


def total(losses: Sequence[float], weights: Sequence[float]) -> float:
    """The loss of its parts."""
    return sum(loss * weight for loss, weight in zip(losses, weights, strict=True))
