"""Every layer evaluated: what it harms, and what it gains and costs to spare it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from passes.arithmetic import FLOAT_BITS
from passes.layers import layer_of
from zqc.commands.sensitivity_job import Evaluator, Job
from zqc.diagnosis import layerwise, suggestion
from zqc.diagnosis.effects import Effect
from zqc.diagnosis.results import LayerSensitivity, Step
from zqc.diagnosis.suggestion import Price
from zqc.mixed_precision.costs import size_costs, storages
from zqc.quantization.quantize import quantize


def extra_bytes(job: Job) -> dict[str, float]:
    """How much larger the file is with each layer spared, by a few files that are really made."""
    subject, recipe = job.subject, job.plan.recipe
    widths = {name: (subject.bits[name], subject.spared[name]) for name in subject.names}
    bare = job.outcome.candidate.without_moments().ranges
    means = {} if recipe.bias_correction == "none" else job.outcome.candidate.means
    sizes = {}
    for stored, bits_of in storages(recipe.target, widths).items():
        # Storages of more than 8 bits are floats, whatever the width is called.
        quantized = quantize(job.model, bare, job.plan, means=means, bits_of=bits_of)
        sizes[stored] = len(job.content(quantized))
    costs = size_costs(job.model, widths, sizes, recipe.target)
    return {
        name: costs.of[name][spared] - costs.of[name][now] for name, (now, spared) in widths.items()
    }


def evaluated_layers(
    evaluator: Evaluator, extra: Mapping[str, float]
) -> tuple[tuple[LayerSensitivity, ...], Effect, list[Price]]:
    """Evaluate every layer; return them, all of them quantized, and what sparing each is worth.

    Args:
        evaluator: Evaluates.
        extra: How much larger the file is with each layer spared, see ``extra_bytes``.
    """
    job = evaluator.job
    subject, names = job.subject, job.subject.names
    families = (
        [subject.everything()],
        subject.alone(),
        subject.alone_spared(),
        subject.cumulative(),
        [job.restored([name]) for name in names],
    )
    variants = [variant for family in families for variant in family]
    effects = evaluator.effects("Evaluating layers", variants)
    ends = np.cumsum([0, *map(len, families)])
    (everything,), alone, spared, cumulative, restored = (effects[a:b] for a, b in pairwise(ends))
    exponents = layerwise.weight_exponents(job.outcome.written.quantized)
    found = []
    for index, node in enumerate(subject.layers):
        found.append(
            _layer(
                job,
                node,
                exponents,
                extra,
                alone[index],
                cumulative[index],
                restored[index],
                everything,
            )
        )
    useful = min(subject.spared.values())  # 8 bits, where any layer has fewer
    prices = [
        Price(name, one.error - rest.error, extra[name])
        for name, one, rest in zip(names, alone, spared, strict=True)
        if subject.spared[name] == useful and subject.together[name][0] == name
    ]
    return tuple(found), everything, prices


def evaluated_steps(
    evaluator: Evaluator, prices: Sequence[Price], everything: Effect, budget: int
) -> tuple[tuple[Step, ...], Step | None]:
    """Spare more and more layers; return what comes out, and the step that is enough.

    Args:
        evaluator: Evaluates.
        prices: What sparing each layer is worth, and costs.
        everything: What comes out with none spared.
        budget: Bytes that they may cost together.
    """
    order = suggestion.in_order(prices, budget)
    counts = suggestion.steps(len(order))
    variants = [evaluator.job.restored([price.name for price in order[:count]]) for count in counts]
    effects = evaluator.effects("Evaluating what can be spared", variants)
    found = tuple(
        Step(
            tuple(price.name for price in order[:count]),
            round(sum(price.bytes for price in order[:count])),
            effect,
        )
        for count, effect in zip(counts, effects, strict=True)
    )
    best = suggestion.enough(everything.error, [effect.error for effect in effects])
    return found, None if best is None else found[best]


def _layer(
    job: Job,
    node: ir.Node,
    exponents: Mapping[str, tuple[int, int]],
    extra: Mapping[str, float],
    alone: Effect,
    cumulative: Effect,
    restored: Effect,
    everything: Effect,
) -> LayerSensitivity:
    name, ranges = node.name or "", job.outcome.candidate.ranges
    source = ranges.grids.get(node.inputs[0].name or "" if node.inputs[0] is not None else "")
    output = layerwise.output_tensor(node, ranges.grids)
    grid, clipped, histogram = None, math.nan, None
    if output is not None:
        grid, seen = ranges.grids[output], ranges.statistics.tensors[output].histogram
        clipped = layerwise.clipped_share(seen, grid)
        histogram = layerwise.bars(seen, *grid.bounds)
    layer = layer_of(node)
    return LayerSensitivity(
        name=name,
        op_type=node.op_type,
        weights=0 if layer is None else layer.weight.size,
        weight_bits=job.subject.bits[name],
        act_bits=FLOAT_BITS if source is None else source.bits,
        weight_exponents=exponents[name],
        input_exponent=None if source is None else source.exponent,
        output_exponent=None if grid is None else grid.exponent,
        clipped=clipped,
        histogram=histogram,
        alone=alone,
        cumulative=cumulative,
        restored=restored,
        spared_bits=job.subject.spared[name],
        spared_bytes=round(extra[name]),
        gain_boxes_db=restored.boxes_db - everything.boxes_db,
        gain_scores_db=restored.scores_db - everything.scores_db,
    )
