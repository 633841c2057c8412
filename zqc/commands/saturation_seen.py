"""What 8-bit kernels that add in 16 bits cost a quantized model on this processor."""

from __future__ import annotations

import logging
from itertools import islice

from zqc.commands.pair import Pair
from zqc.detection.agreement import OutputsMeter
from zqc.errors import RuntimeFailure
from zqc.pictures.images import ImageSet
from zqc.report.text import decibels_text
from zqc.runtime import cpu, saturation

logger = logging.getLogger(__name__)

_PICTURES = 8
_WORTH_SAYING_DB = 1.0


def saturation_seen(pair: Pair, pictures: ImageSet, *, threads: int | None) -> str:
    """Run the quantized model without fusions as well, where kernels may saturate.

    Args:
        pair: The models.
        pictures: What they are compared on; the first few do.
        threads: Threads of ONNX Runtime.

    Returns:
        What is nearer to the float model by more than 1 dB then, in a sentence; empty where nothing
        is, on processors whose kernels do not saturate, and of a model that only runs with fusions.
    """
    if not saturation.adds_in_16_bits(cpu.features()) or pair.doubts():
        return ""
    here, exactly = OutputsMeter.of(pair.parts), OutputsMeter.of(pair.parts)
    size = pair.shape[0]
    try:
        models = pair.first, pair.second, pair.unfused(threads)
        for batch in islice(pictures.batches(size), max(1, _PICTURES // size)):
            expected, got, exact = pair.outputs_of(models, batch)
            here.update(expected, got)
            exactly.update(expected, exact)
    except RuntimeFailure as error:
        logger.info("the model cannot be run without fusions: %s", error)
        return ""
    lost = [
        f"{one.part} at {decibels_text(one.sqnr_db)} instead of {decibels_text(other.sqnr_db)}"
        for one, other in zip(here.results(), exactly.results(), strict=True)
        if other.sqnr_db - one.sqnr_db > _WORTH_SAYING_DB
    ]
    if not lost:
        return ""
    return (
        f"{saturation.WHERE} saturate: {', '.join(lost)}; compile with --reduce-range for such "
        "processors"
    )
