"""Each rule of the verdict, on both sides of its limit."""

import math

import numpy as np
import pytest

from zqc.detection.agreement import PartAgreement
from zqc.detection.average_precision import Accuracy
from zqc.detection.comparison import Renamed
from zqc.detection.detections import Detections
from zqc.detection.pairing import pair_detections
from zqc.detection.verdict import Evidence, judge


def part(kind="scores", sqnr_db=30.0, distinct=5000, distinct_float=6000, **more):
    """Agreement of one part of the outputs."""
    return PartAgreement(kind, kind, sqnr_db, 0.99, distinct, distinct_float, **more)


FINE = (part("boxes"), part("scores"))


def accuracy(ap):
    """An average precision."""
    return Accuracy(ap, ap)


def detected(labels):
    """A picture with boxes of these classes, side by side."""
    count = len(labels)
    left = 20.0 * np.arange(count)
    boxes = np.stack([left, np.zeros(count), left + 16, np.full(count, 16.0)], 1)
    return [Detections(boxes, np.full(count, 0.9), np.array(labels, np.int64))]


def paired(reference, quantized):
    """How boxes of these classes pair."""
    names = {0: "cat", 1: "dog"}
    return {"pairing": pair_detections(detected(reference), detected(quantized), names=names)}


def word(**evidence):
    """The verdict on evidence with the parts of a model that is fine."""
    return judge(Evidence(**{"parts": FINE, "real": True, **evidence})).word


def test_a_defect_decides_whatever_else_is_said():
    """A layer that computes something else is broken, however well the detections agree."""
    defects = ("layer head computes 8 times its float values", "layer neck is all zero")
    verdict = judge(Evidence(FINE, True, agreement=accuracy(1.0), defects=defects))
    assert (verdict.word, verdict.advice) == ("broken", "")
    assert verdict.reason == f"{defects[0]}, and 1 more"
    assert judge(Evidence(FINE, True, defects=defects[:1])).reason == defects[0]


@pytest.mark.parametrize(
    ("distinct", "distinct_float", "expected"),
    [
        (16, 256, "broken"),
        (17, 256, "good"),
        (16, 255, "good"),  # a float model with few scores itself
        (1, 2, "broken"),
        (2, 3, "good"),
        (1, 1, "good"),  # every score of the float model is the same, too
    ],
)
def test_dead_scores(distinct, distinct_float, expected):
    """At most 16 values of 256 or more, or a single one where the float model has several."""
    parts = (part("boxes"), part("scores", distinct=distinct, distinct_float=distinct_float))
    assert word(parts=parts, agreement=accuracy(1.0)) == expected


def test_what_dead_scores_are_said_to_be():
    """All the same, or only so many values; of both models."""
    said = [judge(Evidence((part(distinct=n),), True)).reason for n in (1, 9)]
    assert said == [
        "every score is the same, so it finds nothing (float 6,000)",
        "the scores have only 9 distinct values (float 6,000)",
    ]


def test_only_scores_that_were_compared_can_be_dead():
    """Few values of boxes or of raw outputs are none of this rule, nor a part not compared."""
    others = (part("boxes", distinct=3), part("raw", distinct=3))
    left = part("scores", distinct=0, not_compared="of another size")
    assert word(parts=(*others, left), agreement=accuracy(1.0)) == "good"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.80, 0.80, "good"),
        (0.80, 0.7801, "good"),
        (0.80, 0.7799, "usable with care"),
        (0.80, 0.4001, "usable with care"),
        (0.80, 0.3999, "broken"),
        (0.50, 0.70, "good"),
        (0.0499, 0.0, "not judged"),
        (0.0501, 0.0, "broken"),
    ],
)
def test_labels(before, after, expected):
    """2 points of mAP are good, half of it is broken, and next to nothing is not judged."""
    labelled = accuracy(before), accuracy(after)
    # Labels count more than agreement.
    for agreed in (accuracy(0.0), accuracy(1.0)):
        assert word(labelled=labelled, agreement=agreed) == expected


def test_labels_of_other_pictures_are_suspected():
    """Where the float model finds nothing of what is labelled, the reason says where to look."""
    verdict = judge(Evidence(FINE, True, labelled=(accuracy(0.01), accuracy(0.01))))
    assert verdict.reason.startswith("mAP 1.0 → 1.0 against the labels: the float model itself")
    assert "labels belong to these pictures" in verdict.reason


@pytest.mark.parametrize(
    ("boxes", "kept", "expected"),
    [
        (10, 1, "broken"),  # F1 2 / 11
        (9, 1, "usable with care"),  # too few boxes to say
        (14, 2, "usable with care"),  # F1 4 / 16 = 0.25
        (15, 2, "broken"),  # F1 4 / 17
    ],
)
def test_a_class_that_is_lost(boxes, kept, expected):
    """With 10 boxes of a class or more, an F1 below a quarter is a lost class."""
    others = [1] * 30
    pairs = paired([*others, *[0] * boxes], [*others, *[0] * kept])
    for more in ({"agreement": accuracy(0.7)}, {"labelled": (accuracy(0.8), accuracy(0.7))}):
        assert word(**pairs, **{"agreement": accuracy(0.7), **more}) == expected


def test_a_lost_class_is_named_on_real_pictures_only():
    """The class and what is left of it; pictures that were made up show no single classes."""
    pairs = paired([*[1] * 30, *[0] * 12], [*[1] * 30, 0])
    verdict = judge(Evidence(FINE, True, agreement=accuracy(0.7), **pairs))
    assert verdict.reason == "of 12 boxes of class cat it keeps 1"
    assert word(real=False, agreement=accuracy(0.7), **pairs) == "usable with care"


def test_all_lost_names_no_class():
    """Where all detections are lost, the agreement says so, and no single class."""
    pairs = paired([0] * 12, [0])
    verdict = judge(Evidence(FINE, True, agreement=accuracy(0.4999), **pairs))
    assert verdict.word == "broken"
    assert verdict.reason == (
        "its detections agree with the float model's to 50.0 % (AP); of 12 boxes it loses 11, and "
        "it adds 0"
    )


@pytest.mark.parametrize(
    ("real", "ap", "expected"),
    [
        (True, 0.9501, "good"),
        (True, 0.9499, "usable with care"),
        (True, 0.5001, "usable with care"),
        (True, 0.4999, "broken"),
        (False, 0.9001, "good"),
        (False, 0.8999, "usable with care"),
        (False, 0.6001, "usable with care"),
        (False, 0.5999, "broken"),
    ],
)
def test_detections(real, ap, expected):
    """Limits of the agreement by AP; pictures that were made up have lower ones, and it says so."""
    verdict = judge(Evidence(FINE, real, agreement=accuracy(ap), **paired([0] * 9, [0] * 9)))
    assert verdict.word == expected
    assert "(AP); of 9 boxes it loses 0" in verdict.reason
    assert ("made up" in verdict.reason) is not real


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (3, "good"),  # of 9 boxes: F1 6 / 12, the limit itself
        (2, "usable with care"),  # 4 / 11
    ],
)
@pytest.mark.parametrize("real", [True, False])
def test_scores_that_have_all_fallen_are_no_good_agreement(real, kept, expected):
    """AP asks for the order of scores alone: half of the boxes must be kept at the threshold."""
    pairs = paired([0] * 9, [0] * kept)
    assert word(real=real, agreement=accuracy(1.0), **pairs) == expected


@pytest.mark.parametrize(
    ("boxes", "kept", "expected"),
    [
        (14, 2, "usable with care"),  # F1 4 / 16, the limit itself
        (15, 2, "broken"),  # 4 / 17
        (10, 1, "broken"),  # 2 / 11
        (9, 1, "usable with care"),  # too few boxes to say
    ],
)
def test_boxes_that_are_nearly_all_lost_are_broken(boxes, kept, expected):
    """An F1 below a quarter, of 10 boxes or more, whatever the AP."""
    pairs = paired([0] * boxes, [0] * kept)
    assert word(real=False, agreement=accuracy(1.0), **pairs) == expected


@pytest.mark.parametrize(
    ("real", "boxes", "kept", "new", "expected"),
    [
        (True, 20, 19, 1, "good"),  # F1 38 / 40 = 0.95
        (True, 20, 18, 3, "usable with care"),  # 36 / 41 = 0.88
        (True, 9, 3, 0, "usable with care"),  # 6 / 12 = 0.5
        (True, 9, 3, 1, "broken"),  # 6 / 13
        (False, 20, 18, 2, "good"),  # 36 / 40 = 0.9
        (False, 20, 14, 0, "usable with care"),  # 28 / 34 = 0.82
        (False, 8, 4, 1, "usable with care"),  # 8 / 13 = 0.62
        (False, 9, 2, 0, "broken"),  # 4 / 11
    ],
)
def test_f1_stands_in_for_an_ap_that_cannot_be_measured(real, boxes, kept, new, expected):
    """By the same limits, and the reason says which of the two it is."""
    pairs = paired([0] * boxes, [0] * kept + [1] * new)
    verdict = judge(Evidence(FINE, real, **pairs))
    assert verdict.word == expected
    lost = f"(F1); of {boxes} boxes it loses {boxes - kept}, and it adds {new}"
    assert lost in verdict.reason


def test_agreement_without_boxes_says_nothing():
    """Without a pairing, or without a box of the float model, the parts are judged by."""
    for pairs in ({}, paired([], []), paired([], [0])):
        verdict = judge(Evidence(FINE, True, agreement=accuracy(0.0), **pairs))
        assert verdict.word == "good"
        assert verdict.reason.startswith("no detections to compare; the least SQNR is 30.0 dB")


@pytest.mark.parametrize(
    ("sqnr_db", "expected"),
    [
        (math.inf, "good"),
        (22.0, "good"),
        (21.99, "usable with care"),
        (5.0, "usable with care"),
        (4.99, "broken"),
        (-math.inf, "broken"),
    ],
)
def test_parts(sqnr_db, expected):
    """Without detections the worst part decides, by its SQNR."""
    parts = (part("boxes", sqnr_db), part("scores", 40.0))
    verdict = judge(Evidence(parts, True))
    assert verdict.word == expected
    least = {math.inf: "40.0 dB, of scores", -math.inf: "-∞ dB, of boxes"}
    assert verdict.reason.endswith(least.get(sqnr_db, "dB, of boxes"))
    same = judge(Evidence((part("boxes", math.inf),), True))
    assert same.reason == "no detections to compare; the least SQNR is ∞ dB, of boxes"


def test_parts_without_numbers_count_nothing():
    """What was not compared, or is whole numbers, has no SQNR; with nothing else, no verdict."""
    silent = (
        part("boxes", math.nan, not_compared="of another size"),
        part("raw", math.nan, equal=0.4),
    )
    verdict = judge(Evidence(silent, True))
    assert (verdict.word, verdict.reason) == (
        "not judged",
        "nothing of the outputs could be compared",
    )
    assert word(parts=(*silent, part("raw", 30.0))) == "good"


def test_renamed_classes_are_broken_whatever_the_numbers_say():
    """Two of them are told, the surest first, and how many more; before labels and agreement."""
    renamed = tuple(Renamed(f"c{i}", f"c{i + 1}", 8 - i, 9 - i) for i in range(4))
    fine = {"agreement": accuracy(1.0), "labelled": (accuracy(0.8), accuracy(0.8))}
    for real in (True, False):
        verdict = judge(Evidence(FINE, real, renamed=renamed, **fine))
        assert verdict.word == "broken"
        assert verdict.reason == (
            "8 of 9 boxes of class c0 come out as c1; 7 of 8 boxes of class c1 come out as c2; 2 "
            "more classes likewise"
        )
    said = judge(Evidence(FINE, True, renamed=renamed[:1])).reason
    assert said == "8 of 9 boxes of class c0 come out as c1"


def test_dead_scores_are_told_before_renamed_classes():
    """Where all scores are the same, so are classes, and that is not the reason."""
    dead = (part("scores", distinct=1),)
    assert "every score" in judge(Evidence(dead, True, renamed=(Renamed("a", "b", 4, 4),))).reason
