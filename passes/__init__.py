"""Graph → graph passes for quantization; each is an ``onnx_ir`` pass, usable on its own."""

from passes.absorbed_bounds import AbsorbedBounds
from passes.batchnorm_to_conv import BatchNormToConv
from passes.canonical_activations import CanonicalActivations
from passes.derived_bias_scales import DerivedBiasScales
from passes.equalize_channels import EqualizeChannels
from passes.float_barriers import FloatBarriers
from passes.fold_arithmetic import FoldArithmetic
from passes.fold_batch_size import FoldBatchSize
from passes.fold_batchnorm import FoldBatchNorm
from passes.int4_weights_by_cast import Int4WeightsByCast
from passes.integer_clips import IntegerClips
from passes.pairs_behind_moves import PairsBehindMoves
from passes.quantize_activations import QuantizeActivations
from passes.quantize_weights import QuantizeWeights
from passes.shift_negative_correction import ShiftNegativeCorrection
from passes.short_names import ShortNames
from passes.split_branches import SplitBranches
from passes.unsigned_activations import UnsignedActivations
from passes.wide_maxima import WideMaxima

__all__ = [
    "AbsorbedBounds",
    "BatchNormToConv",
    "CanonicalActivations",
    "DerivedBiasScales",
    "EqualizeChannels",
    "FloatBarriers",
    "FoldArithmetic",
    "FoldBatchNorm",
    "FoldBatchSize",
    "Int4WeightsByCast",
    "IntegerClips",
    "PairsBehindMoves",
    "QuantizeActivations",
    "QuantizeWeights",
    "ShiftNegativeCorrection",
    "ShortNames",
    "SplitBranches",
    "UnsignedActivations",
    "WideMaxima",
]
