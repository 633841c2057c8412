"""Pictures that show what a detector looks for, with labels: what they need of the detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zqc.detection.losses.known import KNOWN, loss_of
from zqc.errors import OptionError

if TYPE_CHECKING:
    from zqc.commands.detector import Detector
    from zqc.detection.losses.detector_loss import DetectorLoss
    from zqc.model_io.model_file import LoadedModel
    from zqc.recipe.recipe import Recipe


def refuse_noise(recipe: Recipe, why: str = "--no-statistics asks for noise") -> None:
    """Noise shows no objects.

    Args:
        recipe: What is asked for.
        why: Why there is nothing but noise.

    Raises:
        OptionError: Pictures that show objects are asked for.
    """
    if recipe.task_specific:
        raise OptionError(
            f"--task-specific pictures are synthesised from statistics, and {why}; leave one of "
            "them out, or give --statistics"
        )


def loss_of_detector(loaded: LoadedModel, detector: Detector) -> DetectorLoss:
    """The loss that task-specific pictures are made with.

    Raises:
        OptionError: The detector has none that is known.
    """
    loss = loss_of(detector.convention, detector.facts)
    computed = {value.name for node in loaded.model.graph for value in node.outputs}
    if loss is None or not computed.issuperset(loss.outputs):
        convention = detector.convention
        what = (
            "it is not known how the outputs of this model hold boxes and scores"
            if convention is None
            else f"the outputs of this model are of the convention {convention.name}"
        )
        raise OptionError(
            f"--task-specific needs the loss of the detector, and {what}; conventions with a loss "
            f"are {KNOWN}; leave --task-specific out"
        )
    return loss
