"""A check as build servers read it."""

import dataclasses
import math
from xml.etree import ElementTree

import pytest

from zqc.commands.check_result import CheckResult
from zqc.commands.limits import Limit
from zqc.detection.verdict import Verdict
from zqc.errors import LabelError
from zqc.report.junit import junit, junit_of_error
from zqc.statistics.input_choice import InputChoice

HOSTILE = "]]><!--<a b='c\" & \x00\x1b\x0b层\u202e|`"

RESULT = CheckResult(
    verdict=Verdict("usable with care", "it lost a little", "zqc debug a b"),
    images=3,
    pictures="3 pictures",
    made_up=False,
    input_choice=InputChoice("0:1", "given"),
    fit="letterbox",
    parts=(),
    limits=(Limit("--min-agreement", 90, 93.456, True), Limit("--max-drop", 2, 2.5, False)),
)


def suite(result, title="q.onnx"):
    """The test suite, read as XML."""
    text = junit(result, title=title)
    assert text.startswith("<?xml version='1.0' encoding='UTF-8'?>\n<testsuite ")
    return ElementTree.fromstring(text.encode())


def failures(root):
    """The names of the tests that fail, with their messages."""
    found = ((case.get("name"), case.find("failure")) for case in root)
    return {name: failure.get("message") for name, failure in found if failure is not None}


def test_one_test_for_the_verdict_and_one_for_each_limit():
    """What holds passes with what was measured; what does not fails with it and the advice."""
    root = suite(RESULT)
    assert root.tag == "testsuite"
    counts = {"name": "q.onnx", "tests": "3", "failures": "1", "errors": "0"}
    assert root.attrib == counts
    assert [case.attrib for case in root] == [
        {"classname": "zqc.check", "name": name}
        for name in ("verdict", "min-agreement", "max-drop")
    ]
    assert failures(root) == {"max-drop": "--max-drop 2: 2.50"}
    assert root[2].find("failure").text == "--max-drop 2: 2.50\nzqc debug a b"
    assert root[0].find("system-out").text == "it lost a little"
    assert root[1].find("system-out").text == "--min-agreement 90: 93.46"


@pytest.mark.parametrize(
    ("word", "fails"),
    [("good", False), ("usable with care", False), ("not judged", False), ("broken", True)],
)
def test_only_broken_fails(word, fails):
    """Where no limit says otherwise, what is usable passes."""
    verdict = Verdict(word, "why")
    root = suite(dataclasses.replace(RESULT, verdict=verdict, limits=()))
    assert root.get("failures") == str(int(fails))
    assert failures(root) == ({"verdict": "why"} if fails else {})


def test_what_was_not_measured_is_a_failure_in_words():
    """No NaN stands in the file."""
    limit = Limit("--max-drop", 2, math.nan, False)
    root = suite(dataclasses.replace(RESULT, limits=(limit,)))
    assert failures(root) == {"max-drop": "--max-drop 2: nothing could be measured"}


def test_hostile_text_comes_out_as_it_is():
    """Markup in a file's name or in a reason is text, and control characters are gone."""
    verdict = Verdict("broken", HOSTILE, HOSTILE)
    root = suite(dataclasses.replace(RESULT, verdict=verdict), title=HOSTILE)
    kept = "".join(letter for letter in HOSTILE if letter >= " ")
    assert root.get("name") == kept
    assert failures(root)["verdict"] == kept
    assert len(root) == 3


@pytest.mark.parametrize("letter", ["\udc80", "\ufffe", "\uffff", "\r"])
def test_what_xml_cannot_hold_is_left_out(letter):
    """Halves of surrogates, as names of files may have, and the two that are no characters."""
    root = suite(RESULT, title=f"a{letter}b")
    assert root.get("name") == "ab"


def test_a_check_that_ended_in_an_error():
    """One test that could not be made, with the message and its kind, whatever is in it."""
    root = ElementTree.fromstring(junit_of_error(LabelError(HOSTILE), title=HOSTILE).encode())
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "1",
        "failures": "0",
        "errors": "1",
    }
    (case,) = root
    assert case.find("error").get("type") == "LabelError"
    assert "层" in case.find("error").get("message")
