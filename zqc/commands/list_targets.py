"""What ``zqc targets`` says."""

from __future__ import annotations

from dataclasses import dataclass

from zqc.targets.registry import find, names, package_of
from zqc.targets.target import Kernels


@dataclass(frozen=True)
class TargetReport:
    """One target, in words.

    Attributes:
        name: What ``--target`` calls it.
        summary: What it is.
        guarantees: What holds of every file that is written for it, a sentence each.
        act_bits: Bits that activations can have.
        kernels: Where its integer kernels are, see ``zqc.targets.Target``.
        cost: What its files cost on ONNX Runtime on x86; empty where that was not measured.
        package: The distribution that brings it along; empty for zqc's own.
    """

    name: str
    summary: str
    guarantees: tuple[str, ...]
    act_bits: tuple[int, ...]
    kernels: Kernels
    cost: str = ""
    package: str = ""


@dataclass(frozen=True)
class TargetsResult:
    """The outcome of ``zqc targets``: zqc's own targets first, then those of other packages."""

    targets: tuple[TargetReport, ...]


def list_targets() -> TargetsResult:
    """Return all targets in words, zqc's own first.

    Raises:
        OptionError: A package brings along one that cannot be used; the message names both.
    """
    return TargetsResult(tuple(map(_report, names())))


def _report(name: str) -> TargetReport:
    target = find(name)
    return TargetReport(
        name=target.name,
        summary=target.summary,
        guarantees=target.guarantees,
        act_bits=target.act_bits,
        kernels=target.kernels,
        cost=target.cost,
        package=package_of(name),
    )
