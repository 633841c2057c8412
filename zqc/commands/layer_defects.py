"""Whether a layer of a quantized file computes something else, for the verdict of ``zqc check``."""

from __future__ import annotations

import logging
from itertools import islice

from zqc.commands.pair import Pair
from zqc.diagnosis.defects import Defect, defects
from zqc.errors import ZqcError
from zqc.model_io.model_file import LoadedModel
from zqc.pictures.images import ImageSet
from zqc.pictures.model_input import fixed_batch
from zqc.quantization.prepare import prepare
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe

logger = logging.getLogger(__name__)

_PICTURES = 8
"""Enough for the ranges of tensors."""


def layer_defects(pair: Pair, pictures: ImageSet, *, threads: int | None) -> tuple[Defect, ...]:
    """Compare the layers of both models; nothing is said where they cannot be.

    Any two models may be compared, also those that zqc cannot read layer by layer.

    Args:
        pair: The models.
        pictures: What they are compared on.
        threads: Threads of ONNX Runtime.
    """
    if not isinstance(pair.loaded, LoadedModel):
        return ()
    try:
        plan = Plan.of(pair.recipe or Recipe(), threads=threads)
        model = prepare(pair.loaded.model, plan)
        size = fixed_batch(model) or 1
        whole = (batch for batch in pictures.batches(size) if len(batch) == size)
        return defects(
            model,
            pair.second.part,
            list(islice(whole, max(1, _PICTURES // size))),
            feeds=pair.inputs.feeds,
            name=str(pair.second.path),
            threads=threads,
        )
    except ZqcError as error:
        logger.info("the layers cannot be compared: %s", error)
        return ()
