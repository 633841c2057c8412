"""Graph → graph passes for quantization; each is an ``onnx_ir`` pass, usable on its own."""

from passes.canonicalize.batchnorm_to_conv import BatchNormToConv
from passes.canonicalize.bins_last import BinsLast
from passes.canonicalize.canonical_activations import CanonicalActivations
from passes.canonicalize.canonical_batchnorm import CanonicalBatchNorm
from passes.canonicalize.canonical_clips import CanonicalClips
from passes.canonicalize.canonical_gelu import CanonicalGelu
from passes.canonicalize.canonical_mish import CanonicalMish
from passes.canonicalize.conv_transpose_to_conv import ConvTransposeToConv
from passes.canonicalize.drop_idle import DropIdle
from passes.canonicalize.explicit_pads import ExplicitPads
from passes.canonicalize.fold_arithmetic import FoldArithmetic
from passes.canonicalize.fold_batch_size import FoldBatchSize
from passes.canonicalize.fold_batchnorm import FoldBatchNorm
from passes.canonicalize.fold_normalization import FoldNormalization
from passes.canonicalize.left_matrices import LeftMatrices
from passes.canonicalize.means_to_pools import MeansToPools
from passes.canonicalize.merge_branches import MergeBranches
from passes.canonicalize.plain_gemm import PlainGemm
from passes.canonicalize.plain_splits import PlainSplits
from passes.canonicalize.shared_weights import SharedWeights
from passes.canonicalize.sink_layout import SinkLayout
from passes.canonicalize.spell_swish import SpellSwish
from passes.canonicalize.split_branches import SplitBranches
from passes.canonicalize.whole_resizes import WholeResizes
from passes.equalize.equalize_channels import EqualizeChannels
from passes.equalize.scale_outputs import ScaleOutputs
from passes.lower.explicit_convolutions import ExplicitConvolutions
from passes.lower.explicit_zero_points import ExplicitZeroPoints
from passes.lower.file_size.coded_weights import CodedWeights
from passes.lower.file_size.derived_bias_scales import DerivedBiasScales
from passes.lower.file_size.packed_scales import PackedScales
from passes.lower.file_size.packed_weights import PackedWeights
from passes.lower.file_size.short_names import ShortNames
from passes.lower.fixed_batch import FixedBatch
from passes.lower.float_biases import FloatBiases
from passes.lower.onnxruntime.bounded_expectations import BoundedExpectations
from passes.lower.onnxruntime.column_blocks import ColumnBlocks
from passes.lower.onnxruntime.early_max_pools import EarlyMaxPools
from passes.lower.onnxruntime.float_barriers import FloatBarriers
from passes.lower.onnxruntime.int4_weights_by_cast import Int4WeightsByCast
from passes.lower.onnxruntime.integer_clips import IntegerClips
from passes.lower.onnxruntime.integer_depth_to_space import IntegerDepthToSpace
from passes.lower.onnxruntime.integer_hard_activations import IntegerHardActivations
from passes.lower.onnxruntime.integer_resizes import IntegerResizes
from passes.lower.onnxruntime.pairs_behind_layout import PairsBehindLayout
from passes.lower.onnxruntime.split_clips import SplitClips
from passes.lower.onnxruntime.wide_maxima import WideMaxima
from passes.lower.scalar_scales import ScalarScales
from passes.lower.shift_negative_correction import ShiftNegativeCorrection
from passes.lower.stored_activations import SignedActivations, UnsignedActivations, WideActivations
from passes.lower.unsigned_matrices import UnsignedMatrices
from passes.quantize.absorbed_bounds import AbsorbedBounds
from passes.quantize.quantize_activations import QuantizeActivations
from passes.quantize.quantize_weights import QuantizeWeights

__all__ = [
    "AbsorbedBounds",
    "BatchNormToConv",
    "BinsLast",
    "BoundedExpectations",
    "CanonicalActivations",
    "CanonicalBatchNorm",
    "CanonicalClips",
    "CanonicalGelu",
    "CanonicalMish",
    "CodedWeights",
    "ColumnBlocks",
    "ConvTransposeToConv",
    "DerivedBiasScales",
    "DropIdle",
    "EarlyMaxPools",
    "EqualizeChannels",
    "ExplicitConvolutions",
    "ExplicitPads",
    "ExplicitZeroPoints",
    "FixedBatch",
    "FloatBarriers",
    "FloatBiases",
    "FoldArithmetic",
    "FoldBatchNorm",
    "FoldBatchSize",
    "FoldNormalization",
    "Int4WeightsByCast",
    "IntegerClips",
    "IntegerDepthToSpace",
    "IntegerHardActivations",
    "IntegerResizes",
    "LeftMatrices",
    "MeansToPools",
    "MergeBranches",
    "PackedScales",
    "PackedWeights",
    "PairsBehindLayout",
    "PlainGemm",
    "PlainSplits",
    "QuantizeActivations",
    "QuantizeWeights",
    "ScalarScales",
    "ScaleOutputs",
    "SharedWeights",
    "ShiftNegativeCorrection",
    "ShortNames",
    "SignedActivations",
    "SinkLayout",
    "SpellSwish",
    "SplitBranches",
    "SplitClips",
    "UnsignedActivations",
    "UnsignedMatrices",
    "WholeResizes",
    "WideActivations",
    "WideMaxima",
]
