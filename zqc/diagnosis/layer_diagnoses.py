"""What became of every layer of a float model: by itself, and what it does to the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from passes.arithmetic import FLOAT_BITS
from passes.graph import name_of
from zqc.diagnosis import layerwise, ranking
from zqc.diagnosis.counterparts import Match, channel_gains, rows
from zqc.diagnosis.effects import Bench, Effect
from zqc.diagnosis.layer_pairs import LayerPairs
from zqc.diagnosis.quantized_model import Rounding
from zqc.diagnosis.reasons import Finding, finding, weights_db
from zqc.diagnosis.results import LayerDiagnosis
from zqc.diagnosis.side_by_side import Observed
from zqc.diagnosis.transplant import Placed, best_rounding, best_weight, with_layer
from zqc.progress import Progress


def layer_diagnoses(
    pair: LayerPairs, seen: Observed, bench: Bench, progress: Progress
) -> tuple[LayerDiagnosis, ...]:
    """Put every layer, as it is and as it could be, into the float model.

    Args:
        pair: The layers of both models.
        seen: What running both showed.
        bench: Measures what comes out of the float model with a changed layer.
        progress: Counts the trials.

    Returns:
        In graph order.

    Raises:
        RuntimeFailure: ONNX Runtime failed.
    """
    from joblib import Parallel, cpu_count, delayed

    jobs, odds, others = [], [], [match.layer for match in pair.found]
    for match in pair.found:
        name, output = match.layer.node.name or "", name_of(match.layer.node.outputs[0])
        places = pair.places[name]
        odds.append(finding(match, places, seen.samples, output, others))
        jobs.append((name, match.weight, match.bias, places))
    for match, odd in zip(pair.found, odds, strict=True):
        if odd.reasons:
            name = match.layer.node.name or ""
            best = tuple(
                replace(each, rounding=_possible(each, seen.samples[each.tensor]))
                for each in pair.places[name]
            )
            jobs.append((name, best_weight(match), None, best))
    effects: list[Effect] = []
    with progress.task("Trying every layer", len(jobs)) as task:
        pool = Parallel(cpu_count(), prefer="threads", return_as="generator")
        for effect in pool(delayed(_effect)(bench, pair.model, *job) for job in jobs):
            effects.append(effect)
            task.advance()
    found, excused = [], {}
    owner = {
        rounding.name: match.layer.node.name or ""
        for match in pair.found
        for rounding in match.quantized.outputs
    }
    better = iter(effects[len(pair.found) :])
    for match, odd, alone in zip(pair.found, odds, effects, strict=False):
        name = match.layer.node.name or ""
        source = match.quantized.source
        if odd.of_bias and source is not None:
            excused[name] = owner.get(source.name, "")
        possible = next(better) if odd.reasons else alone
        found.append(_layer(match, seen, odd, alone, possible))
    return ranking.with_suspects(found, excused)


def _effect(
    bench: Bench,
    model: ir.Model,
    name: str,
    weight: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
    places: Sequence[Placed],
) -> Effect:
    return bench.effect(with_layer(model, name, weight, bias, places))


def _possible(place: Placed, values: NDArray[np.float32]) -> Rounding:
    rounding = place.rounding
    if rounding.step.size > 1:
        return rounding
    return best_rounding(rounding, values, place.seen_through)


def _layer(
    match: Match, seen: Observed, odd: Finding, alone: Effect, possible: Effect
) -> LayerDiagnosis:
    node, quantized = match.layer.node, match.quantized
    sums = seen.sums[node.name or ""]
    output = max(quantized.outputs, key=lambda each: len(each.path), default=None)
    largest = np.abs(rows(match.layer, match.weight)).max(axis=1, initial=0.0)
    exponents = np.log2(np.maximum(largest, 2.0**-126))
    return LayerDiagnosis(
        name=node.name or "",
        op_type=node.op_type,
        counterpart=quantized.node.name or "",
        found_by=match.found_by,
        weights=match.layer.weight.size,
        weight_bits=quantized.bits,
        act_bits=FLOAT_BITS if quantized.source is None else quantized.source.bits,
        weight_gain=float(np.median(channel_gains(match.layer, match.weight))),
        weights_db=weights_db(match.layer, match.weight),
        weight_exponents=(float(exponents.min()), float(exponents.max())),
        input_exponent=math.nan if quantized.source is None else quantized.source.exponent,
        output_exponent=math.nan if output is None else output.exponent,
        clipped=sums.clipped,
        histogram=None if output is None else layerwise.bars(sums.histogram, *output.bounds),
        local_db=sums.local_db,
        cumulative_db=sums.cumulative_db,
        alone=alone,
        possible=possible,
        reasons=odd.reasons,
        severe=odd.severe,
    )
