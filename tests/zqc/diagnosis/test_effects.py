"""What a change does to boxes, scores and detections."""

import math

import numpy as np
import pytest

from tests.diagnosed import subject
from zqc.detection.agreement import PartAgreement
from zqc.diagnosis.effects import Effect, effects_of
from zqc.diagnosis.variants import Variant


def part(name, kind, db):
    """A part of the outputs with this SQNR."""
    return PartAgreement(name, kind, db, 1.0, 9, 9)


def test_parts_of_a_kind_are_averaged():
    """10 dB and no error at all are half of the noise: 13 dB."""
    effect = Effect.of(
        [part("a", "boxes", 10.0), part("b", "boxes", math.inf), part("c", "scores", 20.0)]
    )
    assert effect.boxes_db == pytest.approx(10 + 10 * math.log10(2))
    assert effect.scores_db == 20.0
    assert math.isnan(effect.other_db)


def test_the_error_sums_over_kinds():
    """A tenth of the boxes and a hundredth of the scores."""
    assert Effect(boxes_db=10.0, scores_db=20.0).error == pytest.approx(0.11)
    assert Effect(boxes_db=math.inf).error == 0


def test_the_sqnr_is_that_of_the_outputs():
    """Boxes that are twice as large are as much noise as signal, and scores are not touched."""
    _, bench = subject(bits=8)
    doubled = [
        {"boxes": 2 * outputs["boxes"], "scores": outputs["scores"]} for outputs in bench.expected
    ]
    effect = bench.compared(doubled)
    assert effect.boxes_db == pytest.approx(0.0, abs=1e-6)
    assert effect.scores_db == math.inf


def test_a_head_alone_harms_its_own_output():
    """The boxes feel nothing but the grid of the tensor that both heads read."""
    found, bench = subject(bits=4)
    alone = dict(zip(found.names, found.alone(), strict=True))
    (effect,) = effects_of(found.quantizable, bench, [alone["score_head"]])
    bare = Variant("bare", {"score_head": "asked"})
    (weights,) = effects_of(found.quantizable, bench, [bare])
    assert weights.boxes_db == math.inf
    assert 10 < effect.scores_db < weights.scores_db < 80
    assert effect.boxes_db > 25
    (none,) = effects_of(found.quantizable, bench, [Variant("nothing")])
    assert none.error == 0
    assert np.isnan(none.agreement)
