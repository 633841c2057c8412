"""How near a quantized model's outputs come to the float model's over the calibration pictures."""

from __future__ import annotations

import onnx_ir as ir

from zqc import runtime
from zqc.detection.parts import output_parts
from zqc.grids import Batches
from zqc.picture_input import input_name
from zqc.progress import Task
from zqc.report.agreement import OutputsMeter
from zqc.report.results import PartAgreement


def output_agreement(
    model: ir.Model,
    quantized: ir.Model | bytes,
    batches: Batches,
    *,
    task: Task,
    threads: int | None,
) -> tuple[PartAgreement, ...]:
    """Compare every part of the outputs.

    Args:
        model: A float model.
        quantized: A model with the same input and outputs, or its file.
        batches: The pictures.
        task: Advanced by the number of pictures.
        threads: Threads of ONNX Runtime.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    source = input_name(model)
    meter = OutputsMeter.of(output_parts(model))
    runners = [runtime.load(each, threads=threads) for each in (model, quantized)]
    for batch in batches():
        expected, got = (runner({source: batch}) for runner in runners)
        meter.update(expected, got)
        task.advance(steps=len(batch))
    return meter.results()
