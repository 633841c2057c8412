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


def detector_loss(loaded: LoadedModel, detector: Detector, recipe: Recipe) -> DetectorLoss | None:
    """How the outputs are read, to learn by and to measure sensitivities by.

    None where that is not known, or nothing is learned or measured.

    Raises:
        OptionError: A term of the loss that needs it is to count, and it is not known.
    """
    if not recipe.measures_sensitivity:
        return None
    for term in ("detection", "agreement"):
        if recipe.learns and recipe.loss_weights.get(term, 0) > 0:
            return loss_of_detector(loaded, detector, f"--loss-weights {term}=…")
    return loss_of(detector.convention, detector.facts)


def loss_of_pictures(loaded: LoadedModel, detector: Detector) -> DetectorLoss:
    """The loss that task-specific pictures are made with.

    Raises:
        OptionError: The detector has none that is known, or one that pictures cannot be made with.
    """
    loss = loss_of_detector(loaded, detector)
    if loss.picked:
        raise OptionError(
            "--task-specific needs candidates that stay where they are from step to step, and this "
            "model picks its queries anew each time (TopK); leave --task-specific out"
        )
    return loss


def loss_of_detector(
    loaded: LoadedModel, detector: Detector, option: str = "--task-specific"
) -> DetectorLoss:
    """The loss that weights can be learned with.

    Args:
        loaded: The model.
        detector: How its outputs are read.
        option: What needs the loss.

    Raises:
        OptionError: The detector has none that is known.
    """
    loss = loss_of(detector.convention, detector.facts)
    computed = {value.name for node in loaded.model.graph for value in node.outputs}
    if loss is None or not computed.issuperset(loss.outputs):
        convention = detector.convention
        what = (
            detector.text
            if convention is None
            else f"the outputs of this model are of the convention {convention.name}"
        )
        raise OptionError(
            f"{option} needs the loss of the detector, and {what}; a loss is known for {KNOWN}; "
            f"leave {option} out"
        )
    return loss
