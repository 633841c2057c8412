"""Graph → graph passes for quantization; each is an ``onnx_ir`` pass, usable on its own."""

from passes.absorbed_bounds import AbsorbedBounds
from passes.batchnorm_to_conv import BatchNormToConv
from passes.canonical_activations import CanonicalActivations
from passes.canonical_clips import CanonicalClips
from passes.canonical_gelu import CanonicalGelu
from passes.column_blocks import ColumnBlocks
from passes.conv_transpose_to_conv import ConvTransposeToConv
from passes.derived_bias_scales import DerivedBiasScales
from passes.early_max_pools import EarlyMaxPools
from passes.equalize_channels import EqualizeChannels
from passes.explicit_convolutions import ExplicitConvolutions
from passes.fixed_batch import FixedBatch
from passes.float_barriers import FloatBarriers
from passes.float_biases import FloatBiases
from passes.fold_arithmetic import FoldArithmetic
from passes.fold_batch_size import FoldBatchSize
from passes.fold_batchnorm import FoldBatchNorm
from passes.gemm_zero_points import GemmZeroPoints
from passes.int4_weights_by_cast import Int4WeightsByCast
from passes.integer_clips import IntegerClips
from passes.integer_depth_to_space import IntegerDepthToSpace
from passes.integer_hard_activations import IntegerHardActivations
from passes.integer_resizes import IntegerResizes
from passes.late_moves import LateMoves
from passes.means_to_pools import MeansToPools
from passes.packed_scales import PackedScales
from passes.packed_weights import PackedWeights
from passes.pairs_behind_moves import PairsBehindMoves
from passes.quantize_activations import QuantizeActivations
from passes.quantize_weights import QuantizeWeights
from passes.scalar_scales import ScalarScales
from passes.scale_outputs import ScaleOutputs
from passes.shift_negative_correction import ShiftNegativeCorrection
from passes.short_names import ShortNames
from passes.signed_activations import SignedActivations
from passes.split_branches import SplitBranches
from passes.split_clips import SplitClips
from passes.unsigned_activations import UnsignedActivations
from passes.unsigned_matrices import UnsignedMatrices
from passes.wide_activations import WideActivations
from passes.wide_maxima import WideMaxima

__all__ = [
    "AbsorbedBounds",
    "BatchNormToConv",
    "CanonicalActivations",
    "CanonicalClips",
    "CanonicalGelu",
    "ColumnBlocks",
    "ConvTransposeToConv",
    "DerivedBiasScales",
    "EarlyMaxPools",
    "EqualizeChannels",
    "ExplicitConvolutions",
    "FixedBatch",
    "FloatBarriers",
    "FloatBiases",
    "FoldArithmetic",
    "FoldBatchNorm",
    "FoldBatchSize",
    "GemmZeroPoints",
    "Int4WeightsByCast",
    "IntegerClips",
    "IntegerDepthToSpace",
    "IntegerHardActivations",
    "IntegerResizes",
    "LateMoves",
    "MeansToPools",
    "PackedScales",
    "PackedWeights",
    "PairsBehindMoves",
    "QuantizeActivations",
    "QuantizeWeights",
    "ScalarScales",
    "ScaleOutputs",
    "ShiftNegativeCorrection",
    "ShortNames",
    "SignedActivations",
    "SplitBranches",
    "SplitClips",
    "UnsignedActivations",
    "UnsignedMatrices",
    "WideActivations",
    "WideMaxima",
]
