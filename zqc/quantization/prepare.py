"""The float model in the form that is quantized, and what in it is."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from passes import (
    BatchNormToConv,
    BinsLast,
    CanonicalActivations,
    CanonicalClips,
    CanonicalGelu,
    CanonicalMish,
    ConvTransposeToConv,
    FoldArithmetic,
    FoldBatchNorm,
    FoldNormalization,
    LeftMatrices,
    MeansToPools,
    MergeBranches,
    PlainGemm,
    SharedWeights,
    SinkLayout,
    SplitBranches,
    WholeResizes,
)
from passes.analysis.quantization_points import QuantizationPoint, quantization_points
from passes.analysis.topology import weighted_layers
from passes.canonicalize.canonical_gelu import GELU_OPSET, spelled_gelus
from passes.canonicalize.canonical_mish import MISH_OPSET, spelled_mishes
from zqc.errors import OptionError
from zqc.model_io import lowest_opset, model_file
from zqc.pictures.input_format import InputFormat
from zqc.recipe.plan import Plan
from zqc.recipe.recipe import Recipe
from zqc.runtime import versions

PREPARE: tuple[ir.passes.InPlacePass, ...] = (
    PlainGemm(),
    LeftMatrices(),
    SharedWeights(),
    FoldNormalization(),
    FoldArithmetic(),
    FoldBatchNorm(),
    MergeBranches(),
    FoldBatchNorm(),
    BatchNormToConv(),
    FoldArithmetic(),
    WholeResizes(),
    CanonicalClips(),
    CanonicalActivations(),
    CanonicalGelu(),
    CanonicalMish(),
    MeansToPools(),
    ConvTransposeToConv(),
    SinkLayout(),
    SplitBranches(),
    BinsLast(),
    SharedWeights(),
    RemoveUnusedNodesPass(),
)
"""Exact passes on the float model."""


def prepare(model: ir.Model, plan: Plan) -> ir.Model:
    """Return the float model in the form that is quantized: BatchNorm folded, opset high enough.

    Raises:
        OptionError: The recipe's oldest runtime cannot read it.
    """
    recipe = plan.recipe
    newest = versions.newest_opset(recipe.min_runtime)
    for opset, spelled in ((MISH_OPSET, spelled_mishes), (GELU_OPSET, spelled_gelus)):
        if newest >= opset and spelled(model.graph):
            model = model_file.raise_opset(model, opset)
    prepared = ir.passes.Sequential(*PREPARE)(model.clone()).model
    others = recipe.least_act_bits, recipe.first_last_bits, *recipe.bits_of.values()
    if plan.target.int4 and min(recipe.least_bits, *others) <= 4:
        prepared = model_file.raise_opset(prepared, model_file.INT4_OPSET)
    ShapeInferencePass()(prepared)
    if recipe.min_runtime is not None:
        lowest_opset.check_runtime(prepared, recipe.min_runtime)
    return prepared


def excluded_nodes(model: ir.Model, patterns: Sequence[str]) -> frozenset[str]:
    """Names of the nodes that match the patterns of ``--keep-float``.

    Raises:
        OptionError: A pattern matches nothing.
    """
    names = [node.name for node in model.graph if node.name]
    excluded: set[str] = set()
    for pattern in patterns:
        matching = fnmatch.filter(names, pattern)
        if not matching:
            raise OptionError(
                f"--keep-float {pattern!r} matches no node; `zqc inspect` lists the layers' names"
            )
        excluded.update(matching)
    return frozenset(excluded)


def single_bits(model: ir.Model, recipe: Recipe) -> dict[str, int]:
    """Bits of the weights of single layers by name, as ``--bits-of`` says.

    Raises:
        OptionError: A pattern matches no layer; the message names some that are near.
    """
    names = [node.name for node in weighted_layers(model.graph) if node.name]
    found: dict[str, int] = {}
    for pattern, bits in recipe.bits_of.items():
        matching = fnmatch.filter(names, pattern)
        if not matching:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise OptionError(
                f"--bits-of '{pattern}={bits}' matches no layer; near it are "
                f"{', '.join(near)}; `zqc inspect` lists the layers' names"
            )
        found |= dict.fromkeys(matching, recipe.reduced(bits))
    return found


def points_of(model: ir.Model, plan: Plan) -> list[QuantizationPoint]:
    """Which tensors of a prepared model are quantized."""
    input_format = plan.recipe.input_format
    return quantization_points(
        model.graph,
        excluded=plan.excluded,
        nonnegative_inputs=isinstance(input_format, InputFormat) and min(input_format.low) >= 0,
        only_layer_inputs=plan.target.placement == "layer inputs",
    )
