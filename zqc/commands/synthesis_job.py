"""What the options make of a synthesis: which layers, how many pictures and steps, which loss."""

from __future__ import annotations

from dataclasses import dataclass

from zqc.commands import task_specific
from zqc.commands.amounts import schedule
from zqc.commands.detector import Detector, detector_of
from zqc.commands.origin import Origin
from zqc.detection.losses.detector_loss import DetectorLoss
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.model_input import picture_shape
from zqc.progress import Progress
from zqc.recipe.recipe import Recipe
from zqc.synthesis.loop import Schedule
from zqc.synthesis.objective import Objective
from zqc.synthesis.reach import Reach, reach_of

_TASK_WEIGHT = 0.02
"""Of the detector's loss. The example's labels are found at it, and its statistics met."""


@dataclass(frozen=True)
class SynthesisJob:
    """What pictures of a model are synthesised with.

    Attributes:
        reach: The layers that they can be matched to.
        schedule: Their number and their steps.
        objective: What they minimise.
        detector: Whose objects they show; None where that is open.
        loss: The loss of that detector.
    """

    reach: Reach
    schedule: Schedule
    objective: Objective
    detector: Detector | None = None
    loss: DetectorLoss | None = None


def synthesis_job(
    loaded: LoadedModel,
    origin: Origin,
    recipe: Recipe,
    *,
    detector: Detector | None = None,
    progress: Progress,
    threads: int | None,
) -> SynthesisJob:
    """Find out what the recipe's pictures of a model are synthesised with.

    Args:
        loaded: The model.
        origin: Its statistics; there are some.
        recipe: Effort, terms, and whether pictures show objects.
        detector: What the model detects, where that is known already.
        progress: Where the search reports to.
        threads: Threads of ONNX Runtime.

    Raises:
        OptionError: The pictures shall show objects, and the loss of the detector is unknown.
        RuntimeFailure: ONNX Runtime cannot run the part that is matched.
    """
    loss = None
    if recipe.task_specific:
        detector = detector or detector_of(loaded)
        loss = task_specific.loss_of_pictures(loaded, detector)
    picture = picture_shape(loaded.model)
    with progress.stage("Finding the layers that can be matched"):
        besides = () if loss is None else loss.outputs
        reach = reach_of(loaded.model, origin.layers, picture, besides=besides, threads=threads)
    return SynthesisJob(
        reach, reach.schedule(schedule(recipe, picture)), _objective(recipe), detector, loss
    )


def _objective(recipe: Recipe) -> Objective:
    """What the synthesis minimises. Pictures with labels are not mirrored, as labels are not."""
    return Objective(
        terms=recipe.bn_terms,
        tie_channels=recipe.tie_channels,
        flip=not recipe.task_specific,
        detection=_TASK_WEIGHT if recipe.task_specific else 0.0,
    )
