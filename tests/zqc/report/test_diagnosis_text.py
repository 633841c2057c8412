"""What the diagnoses end with."""

import math

import pytest

from tests.diagnosed import RANGE, canonical, proto, scaled_weight, tensors
from zqc.commands.debug import debug
from zqc.commands.sensitivity import sensitivity
from zqc.diagnosis.effects import Effect
from zqc.report.diagnosis_text import decibels_text, effect_text

OPTIONS = {"images": tensors(), "input_format": RANGE, "threads": 1}


def test_effects_are_said_as_far_as_they_are_known():
    """Boxes and scores apart; never as one number."""
    effect = Effect(boxes_db=12.34, scores_db=math.inf, agreement=0.876)
    assert effect_text(effect) == "boxes 12.3 dB, scores ∞ dB, agreement 87.6 %"
    assert effect_text(Effect(other_db=3.0)) == "outputs 3.0 dB"
    assert effect_text(Effect()) == "not compared"
    assert decibels_text(-1.0) == "-1.0 dB"


@pytest.mark.parametrize("budget", [0.5, 1e-4])
def test_sensitivities(budget):
    """The layers that hurt, what sparing them gains, and a command where one helps."""
    text = str(
        sensitivity(proto(), bits=4, weight_levels="uniform", budget=budget, jobs=1, **OPTIONS)
    )
    assert "Input            0:1" in text
    assert "detections not compared" in text
    assert "deep (Conv, 1,152 weights, 4 bits): alone boxes" in text
    assert "; at 8 bits +" in text
    assert "Breaks at" in text
    assert ("Command          zqc compile MODEL" in text) == (budget > 0.1)
    assert ("gains less than half a dB" in text) == (budget < 0.1)
    assert "on all pictures, with the file that it makes" in text


def test_debugged():
    """The verdict comes first."""
    text = str(debug(proto(), scaled_weight(canonical(bits=8), "deep", 8), **OPTIONS))
    assert text.startswith("Verdict          the culprit is deep: its weights are")
    assert "Harms most       deep (Conv, 8 bits): alone boxes" in text
    assert "Parts at         deep" in text
