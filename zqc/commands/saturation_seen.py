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
    meters = OutputsMeter.of(pair.parts), OutputsMeter.of(pair.parts)
    size = pair.shape[0]
    try:
        exact = pair.unfused(threads)
        for batch in islice(pictures.batches(size), max(1, _PICTURES // size)):
            for one, meter in zip((pair, exact), meters, strict=True):
                meter.update(*one.run(batch))
    except RuntimeFailure as error:
        logger.info("the model cannot be run without fusions: %s", error)
        return ""
    lost = [
        f"{now.part} at {decibels_text(now.sqnr_db)} instead of {decibels_text(then.sqnr_db)}"
        for now, then in zip(*(meter.results() for meter in meters), strict=True)
        if then.sqnr_db - now.sqnr_db > _WORTH_SAYING_DB
    ]
    if not lost:
        return ""
    return (
        "this processor has AVX2 without VNNI, where sums of 8-bit products saturate: "
        f"{', '.join(lost)}; compile with --reduce-range for such processors"
    )
