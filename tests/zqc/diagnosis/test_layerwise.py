"""Every layer alone, spared and cumulative."""

import numpy as np
import pytest

from passes.arithmetic import FLOAT_BITS, Grid
from tests.diagnosed import LAYERS, quantized, subject
from zqc.calibration.histogram import add, empty
from zqc.diagnosis.layerwise import bars, clipped_share, output_tensor, weight_exponents


def restored(found, names, **options):
    """All but some quantized."""
    _, plan, outcome = quantized(**options)
    candidate = outcome.candidate
    return found.restored(names, candidate.model, candidate.ranges, plan)


def test_layers_are_spared_with_8_bits_or_float():
    """Those of 4 bits get 8, those of 8 stay float."""
    found, _ = subject(bits=4)
    assert found.names == LAYERS
    assert found.bits == dict(zip(LAYERS, (8, 4, 4, 4, 8, 8), strict=True))
    assert found.spared == {n: 8 if b == 4 else FLOAT_BITS for n, b in found.bits.items()}


def test_the_last_cumulative_variant_is_everything():
    """All layers and all tensors."""
    found, _ = subject(bits=4)
    last, everything = found.cumulative()[-1], found.everything()
    assert last.layers == everything.layers
    assert last.tensors == everything.tensors


def test_sparing_a_layer_gives_it_more_bits_or_float():
    """Float layers lose the grids that nobody else needs."""
    found, _ = subject(bits=4)
    wide = restored(found, ["deep"], bits=4)
    assert wide.layers == dict.fromkeys(LAYERS, "asked") | {"deep": "spared"}
    assert wide.tensors == found.everything().tensors
    floating = restored(found, ["box_head"], bits=4)
    assert "box_head" not in floating.layers
    assert found.everything().tensors - floating.tensors == {"box_logits_scaled"}


def test_sparing_gains(rng):
    """8 bits for every inner layer come nearer to the float model than 4."""
    found, bench = subject(bits=4)
    variants = [found.everything(), restored(found, ["depthwise", "deep", "shortcut"], bits=4)]
    before, after = (bench.effect(found.quantizable.variant(v)).error for v in variants)
    assert after < before / 4


def test_exponents_of_weights():
    """The threshold of each channel holds most of it: no more than twice its largest weight."""
    found, _ = subject(bits=4)
    low, high = weight_exponents(quantized(bits=4)[2].written.quantized)["deep"]
    largest = np.abs(found.quantizable.parameters["asked"]["deep"].weight).max()
    assert low <= high
    assert largest <= 2.0**high <= 4 * largest


def test_the_clipped_share_counts_what_is_outside():
    """One of four values lies beyond a grid that ends at 1."""
    histogram = add(empty(), np.array([0.1, 0.5, 0.9, 3.0], np.float32))
    assert clipped_share(histogram, Grid(0, 8, signed=False)) == 0.25


def test_bars_hold_every_value():
    """In few bins, over the values and the grid."""
    values = np.random.default_rng(0).normal(0, 1, 1000).astype(np.float32)
    shown = bars(add(empty(), values), -8.0, 8.0)
    assert sum(shown.counts) == 1000
    assert len(shown.edges) == len(shown.counts) + 1 == 41
    assert shown.edges[0] <= -8.0 < 8.0 <= shown.edges[-1]


@pytest.mark.parametrize(("layer", "tensor"), [("stem", "r1"), ("depthwise", "a2")])
def test_the_output_tensor_is_behind_the_activation_function(layer, tensor):
    """Not what stands between its parts."""
    found, _ = subject(bits=8)
    node = found.layers[LAYERS.index(layer)]
    assert output_tensor(node, found.quantizable.grids) == tensor
