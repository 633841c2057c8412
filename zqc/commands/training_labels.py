"""Labels of the user's own pictures, for weights that are learned by the detector's own loss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zqc.commands.labelled import labelled
from zqc.detection.losses.assignment import Objects
from zqc.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from zqc.commands.detector import Detector
    from zqc.detection.labels.labels import Truth
    from zqc.pictures.images import ImageSet, PicturePlacement
    from zqc.recipe.recipe import Recipe

_WEIGHT = 0.1
"""Of the detector's own loss, where there are labels and the recipe says nothing."""


def weighing_labels(recipe: Recipe, labels: Path | None) -> Recipe:
    """The recipe with a weight of the detector's own loss, where labels ask for one.

    Raises:
        OptionError: Labels are given, and nothing is learned by them.
    """
    if labels is None:
        return recipe
    weights = {"detection": _WEIGHT, **recipe.loss_weights}
    if not recipe.learns:
        raise OptionError(
            f"{labels} would not be used: labels count where something is learned; leave them "
            "out, or say zqc tune"
        )
    if weights["detection"] == 0:
        raise OptionError(
            f"{labels} would not be used: --loss-weights gives detection 0; leave one of them out"
        )
    return replace(recipe, loss_weights=weights)


def with_labels(pictures: ImageSet, labels: Path, detector: Detector) -> ImageSet:
    """The pictures with what they show, in pixels of the input.

    Crowds are left out, as is what lies outside of the input. Pictures that the labels do not list
    are known by what the float model finds.

    Raises:
        LabelError: The labels cannot be used, or do not fit the pictures or the model.
        OptionError: It is not known how the model's outputs hold boxes and scores.
    """
    found = labelled(labels, pictures, detector)
    listed = set(found.listed)
    shown: list[Objects | None] = []
    for index, truth in enumerate(found.truth):
        if index in listed:
            tensors, (placement,) = pictures.read(index, index + 1)
            shown.append(_placed(truth, placement, *tensors.shape[2:]))
        else:
            shown.append(None)
    source = f"{pictures.source}, {len(listed)} of them with labels"
    return replace(pictures, source=source, labels=tuple(shown))


def _placed(truth: Truth, placement: PicturePlacement, height: int, width: int) -> Objects:
    """Labelled boxes of a picture where they lie in the input."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2)
    moved = truth.boxes * scale + np.array([placement.left, placement.top] * 2)
    single = ~truth.crowd
    objects = Objects(moved[single].astype(np.float32), truth.labels[single])
    return objects.inside(height, width)
