"""The best bits within a budget, against trying everything."""

import itertools
import math
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zqc.allocation import Budget, Costs, allocate
from zqc.errors import OptionError

REFERENCE = 1000.0


@st.composite
def problems(draw, budgets=2):
    """Losses and costs of a few names with a few bits; losses differ by many powers of ten."""
    losses, costs = {}, [{} for _ in range(budgets)]
    for name in "abcd"[: draw(st.integers(1, 4))]:
        bits = draw(st.lists(st.sampled_from([2, 3, 4, 8, 32]), min_size=1, unique=True))
        losses[name] = {
            b: draw(st.integers(0, 999)) * 10.0 ** draw(st.integers(-9, 2)) for b in bits
        }
        for cost in costs:
            cost[name] = {b: float(draw(st.integers(-20, 100))) for b in bits}
    limits = [draw(st.integers(-50, 400)) for _ in costs]
    return losses, [
        Budget(kind, (limit + 100) / REFERENCE, REFERENCE, Costs(100.0, cost))
        for kind, limit, cost in zip(("size", "latency"), limits, costs, strict=False)
    ]


def best_of_all(losses, budgets):
    """The least loss of all choices within the budgets, infinite where there is none."""
    totals = [math.inf]
    for bits in itertools.product(*losses.values()):
        chosen = dict(zip(losses, bits, strict=True))
        if all(b.costs.total(chosen) <= b.limit + 1e-9 for b in budgets):
            totals.append(sum(losses[name][b] for name, b in chosen.items()))
    return min(totals)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_equals_trying_everything(problem):
    """The least loss to 1e-5, every budget respected, one choice for every name."""
    losses, budgets = problem
    expected = best_of_all(losses, budgets)
    if expected == math.inf:
        with pytest.raises(OptionError):
            allocate(losses, budgets)
        return
    found = allocate(losses, budgets)
    assert found.bits.keys() == losses.keys()
    assert found.loss == pytest.approx(expected, rel=1e-5, abs=1e-300)
    assert found.loss == sum(losses[name][bits] for name, bits in found.bits.items())
    for budget, spent in zip(budgets, (found.size, found.latency), strict=True):
        assert spent == budget.costs.total(found.bits) <= budget.limit + 1e-3
    assert allocate(losses, budgets) == found


@settings(max_examples=40, deadline=None)
@given(problems())
def test_the_share_that_a_refusal_names_is_enough(problem):
    """What the message asks for can be had, and a thousandth less cannot."""
    losses, budgets = problem
    if best_of_all(losses, budgets) < math.inf:
        return
    # First each budget that cannot be met alone, then both together.
    for _ in range(len(budgets) + 1):
        try:
            allocate(losses, budgets)
        except OptionError as error:
            kind, share = re.search(
                r"--target-(\w+) .* smallest possible share is (\S+);", str(error)
            ).groups()
            budgets = [
                Budget(kind, float(share), REFERENCE, b.costs) if b.kind == kind else b
                for b in budgets
            ]
            less = [
                Budget(kind, b.share - 0.0011, REFERENCE, b.costs) if b.kind == kind else b
                for b in budgets
            ]
            assert best_of_all(losses, less) == math.inf
    assert allocate(losses, budgets).loss == pytest.approx(
        best_of_all(losses, budgets), rel=1e-5, abs=1e-300
    )


@settings(max_examples=30, deadline=None)
@given(problems(budgets=1), st.floats(0, 0.2))
def test_more_room_never_loses_more(problem, more):
    """The loss falls with the share."""
    losses, (budget,) = problem
    if best_of_all(losses, [budget]) == math.inf:
        return
    wider = Budget("size", budget.share + more, REFERENCE, budget.costs)
    assert allocate(losses, [wider]).loss <= allocate(losses, [budget]).loss * (1 + 1e-5)


def test_bits_without_a_cost_are_not_chosen():
    """Float would lose nothing, but the file was not measured with it; a point costs nothing."""
    losses = {"layer": {4: 1.0, 8: 0.1, 32: 0.0}, "point": {4: 2.0, 8: 0.5}}
    costs = Costs(10.0, {"layer": {4: 50.0, 8: 100.0}})
    found = allocate(losses, [Budget("size", 0.5, 400.0, costs)])
    assert found.bits == {"layer": 8, "point": 8}
    assert (found.loss, found.size, found.latency) == (0.6, 110.0, None)


def test_a_refusal_names_option_and_remedy():
    """In the words of the command line."""
    budget = Budget("size", 0.1, 1000.0, Costs(50.0, {"a": {4: 100.3, 8: 200.0}}))
    with pytest.raises(OptionError, match=r"--target-size 0\.1 cannot .* share is 0\.151; ask for"):
        allocate({"a": {4: 1.0, 8: 0.0}}, [budget])


def test_nothing_is_printed():
    """Not even the solver's banner, which would stand before the results of --json."""
    script = (
        "from zqc.allocation import *\n"
        "costs = Costs(0.0, {'a': {4: 1.0, 8: 2.0}})\n"
        "allocate({'a': {4: 1.0, 8: 0.0}}, [Budget('size', 0.5, 3.0, costs)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_nothing_to_choose():
    """No layer, no problem; but what is fixed may be too much."""
    assert allocate({}, [Budget("size", 0.5, 100.0, Costs(40.0, {}))]).bits == {}
    with pytest.raises(OptionError):
        allocate({}, [Budget("size", 0.5, 100.0, Costs(60.0, {}))])
