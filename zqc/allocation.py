"""The bits with the least loss that a budget allows: an integer linear programme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zqc.errors import OptionError

Choice = tuple[str, int]

_GAP = 1e-6
"""How far above the least loss the solver may stop, as a share of it."""


@dataclass(frozen=True)
class Costs:
    """What choices cost: bytes, bits or milliseconds.

    Attributes:
        fixed: What does not depend on any choice.
        of: By name and bits, what is added; a name that is missing adds nothing.
    """

    fixed: float
    of: Mapping[str, Mapping[int, float]]

    def total(self, bits: Mapping[str, int]) -> float:
        """What all choices cost together."""
        return self.fixed + sum(self.of[name][b] for name, b in bits.items() if name in self.of)


@dataclass(frozen=True)
class Budget:
    """A limit of the costs.

    Attributes:
        kind: ``size`` or ``latency``.
        share: The limit as a share of ``reference``.
        reference: What the float model costs, or one of uniform bits.
        costs: What the choices cost.
    """

    kind: Literal["size", "latency"]
    share: float
    reference: float
    costs: Costs

    @property
    def limit(self) -> float:
        """The limit in the unit of the costs."""
        return self.share * self.reference


@dataclass(frozen=True)
class Allocation:
    """The chosen bits and what they are predicted to mean.

    Attributes:
        bits: By name; 32 for float.
        loss: What the outputs lose, in the unit of ``Sensitivity``.
        size: Bytes of the file, or bits of all activations; None without a budget for it.
        latency: Milliseconds of a run; None without a budget for it.
    """

    bits: dict[str, int]
    loss: float
    size: float | None
    latency: float | None


def allocate(losses: Mapping[str, Mapping[int, float]], budgets: Sequence[Budget]) -> Allocation:
    """Choose bits for every name so that the sum of the losses is the least within all budgets.

    Minimise Σ loss·x over x ∈ {0, 1}, one for each name and number of bits, with Σ x = 1 for each
    name and fixed + Σ cost·x ≤ limit for each budget; solved by HiGHS up to a millionth. The same
    numbers give the same bits.

    Args:
        losses: By name and bits. Bits that a budget knows no cost of are not chosen.
        budgets: At most one of a kind.

    Raises:
        OptionError: No choice fits; the message says which share would.
    """
    choices = _choices(losses, budgets)
    for budget in budgets:
        least = _least(choices, budget)
        if least > budget.limit * (1 + _GAP):
            raise _unreachable(budget, least)
    values = np.array([losses[name][bits] for name, bits in choices])
    first = _solve(choices, values, budgets)
    if first is None:
        *others, last = budgets
        costs = np.array([_cost(last, *choice) for choice in choices])
        cheapest = _solve(choices, costs, others)
        assert cheapest is not None  # each budget alone can be met
        raise _unreachable(last, last.costs.total(cheapest), beside=others)
    # The solver's tolerances are absolute: with the first solution known, choices that alone lose
    # more than all of it are left out, so that the others are scaled to the result.
    bound = _total(losses, first)
    kept = [i for i, value in enumerate(values) if value <= bound * (1 + _GAP)]
    found = _solve([choices[i] for i in kept], values[kept], budgets)
    best = first if found is None or _total(losses, found) > bound else found
    spent = {budget.kind: budget.costs.total(best) for budget in budgets}
    return Allocation(best, _total(losses, best), spent.get("size"), spent.get("latency"))


def _choices(losses: Mapping[str, Mapping[int, float]], budgets: Sequence[Budget]) -> list[Choice]:
    """Every name with each number of bits that all budgets know a cost of."""
    return [
        (name, bits)
        for name, of in losses.items()
        for bits in of
        if all(bits in budget.costs.of.get(name, of) for budget in budgets)
    ]


def _total(losses: Mapping[str, Mapping[int, float]], bits: Mapping[str, int]) -> float:
    return sum(losses[name][b] for name, b in bits.items())


def _cost(budget: Budget, name: str, bits: int) -> float:
    return budget.costs.of[name][bits] if name in budget.costs.of else 0.0


def _least(choices: Sequence[Choice], budget: Budget) -> float:
    """The least that can be spent where nothing else counts."""
    least: dict[str, float] = {}
    for name, bits in choices:
        least[name] = min(least.get(name, math.inf), _cost(budget, name, bits))
    return budget.costs.fixed + sum(least.values())


def _solve(
    choices: Sequence[Choice], values: NDArray[np.float64], budgets: Sequence[Budget]
) -> dict[str, int] | None:
    """The choice of least value, None where there is none within the budgets."""
    from highspy import Highs, HighsModelStatus, HighsVarType, kHighsInf

    if not choices:
        return {}
    solver = Highs()
    solver.silent()
    solver.setOptionValue("mip_rel_gap", _GAP)
    count, every = len(choices), np.arange(len(choices), dtype=np.int32)
    solver.addVars(count, np.zeros(count), np.ones(count))
    solver.changeColsIntegrality(count, every, np.full(count, HighsVarType.kInteger))
    solver.changeColsCost(count, every, values * (1e3 / _largest(values)))
    for name in dict.fromkeys(name for name, _ in choices):
        members = every[[other == name for other, _ in choices]]
        solver.addRow(1, 1, len(members), members, np.ones(len(members)))
    for budget in budgets:
        costs = np.array([_cost(budget, *choice) for choice in choices])
        room = budget.limit - budget.costs.fixed
        unit = _largest(costs)
        solver.addRow(-kHighsInf, room / unit, count, every, costs / unit)
    solver.run()
    if solver.getModelStatus() != HighsModelStatus.kOptimal:
        return None
    chosen = zip(choices, np.rint(solver.getSolution().col_value), strict=True)
    return dict(choice for choice, taken in chosen if taken)


def _largest(values: NDArray[np.float64]) -> float:
    """The unit of a row: its largest value, or 1 where all are 0."""
    return float(np.abs(values).max()) or 1.0


def _unreachable(budget: Budget, least: float, beside: Sequence[Budget] = ()) -> OptionError:
    # Rounded up, so that asking for what the message says succeeds.
    share = math.ceil(least / budget.reference * 1e3) / 1e3
    besides = "".join(f" with --target-{other.kind} {other.share:g}" for other in beside)
    return OptionError(
        f"--target-{budget.kind} {budget.share:g} cannot be reached{besides}: the smallest "
        f"possible share is {share:g}; ask for that or more"
    )
