"""What the diagnoses find out."""

import dataclasses
import math

from zqc.diagnosis.effects import Effect
from zqc.diagnosis.results import LayerSensitivity, SensitivityResult, Suggestion
from zqc.report.json_text import result_text
from zqc.statistics.input_choice import InputChoice

LAYER = LayerSensitivity(
    name="a",
    op_type="Conv",
    weights=9,
    weight_bits=4,
    act_bits=8,
    weight_exponents=(0, 1),
    input_exponent=0,
    output_exponent=None,
    clipped=math.nan,
    histogram=None,
    alone=Effect(boxes_db=30.0),
    cumulative=Effect(),
    restored=Effect(),
    spared_bits=8,
    spared_bytes=5,
    gain_boxes_db=1.0,
    gain_scores_db=math.nan,
)


def test_layers_are_ranked_by_what_they_do_alone():
    """The one with the most noise first; the same as JSON, without NaN."""
    worse = dataclasses.replace(LAYER, name="b", alone=Effect(boxes_db=10.0))
    none = Effect()
    advice = Suggestion((), 0, (), "", 0, none, 9, 9, none, none)
    choice = InputChoice("0:1", "given")
    result = SensitivityResult(
        "m.onnx", "w4a8", "ort-x86", choice, "", 8, 8, "", 0, none, (LAYER, worse), (), 9, advice
    )
    assert [layer.name for layer in result.ranked] == ["b", "a"]
    assert '"gain_scores_db": null' in result_text(result)
