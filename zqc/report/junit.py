"""A check as a JUnit XML file, which build servers show as tests."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

_NO_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0, section 2.2, without the carriage return."""

if TYPE_CHECKING:
    from zqc.commands.check_result import CheckResult


def junit(result: CheckResult, *, title: str) -> str:
    """One test for the verdict, which fails where it is *broken*, and one for each limit.

    Args:
        result: The outcome of a check.
        title: What the suite is called.
    """
    cases = [("verdict", result.verdict.word != "broken", result.verdict.reason)]
    for limit in result.limits:
        value = "nothing could be measured" if math.isnan(limit.value) else f"{limit.value:.2f}"
        said = f"{limit.option} {limit.limit:g}: {value}"
        cases.append((limit.option.lstrip("-"), limit.met, said))
    failed = sum(not holds for _, holds, _ in cases)
    suite = _suite(title, tests=len(cases), failures=failed)
    for name, holds, said in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="zqc.check", name=name)
        if not holds:
            failure = ElementTree.SubElement(case, "failure", message=_plain(said))
            failure.text = _plain(f"{said}\n{result.verdict.advice}".strip())
        else:
            ElementTree.SubElement(case, "system-out").text = _plain(said)
    return _text(suite)


def junit_of_error(error: Exception, *, title: str) -> str:
    """One test that could not be made, for a check that ended in an error.

    Args:
        error: The error.
        title: What the suite is called.
    """
    suite = _suite(title, tests=1, errors=1)
    case = ElementTree.SubElement(suite, "testcase", classname="zqc.check", name="verdict")
    kind = type(error).__name__
    ElementTree.SubElement(case, "error", type=kind, message=_plain(str(error)))
    return _text(suite)


def _suite(title: str, *, tests: int, failures: int = 0, errors: int = 0) -> ElementTree.Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(errors)}
    return ElementTree.Element("testsuite", {"name": _plain(title), **counts})


def _text(suite: ElementTree.Element) -> str:
    ElementTree.indent(suite)
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{ElementTree.tostring(suite, 'unicode')}\n"


def _plain(text: str) -> str:
    """Without what XML has no form for: control characters and halves of surrogate pairs."""
    return _NO_XML.sub("", text)
