"""What every stage of one compilation works with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from zqc import targets
from zqc.errors import OptionError
from zqc.pictures.memory import MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zqc.recipe.recipe import Recipe
    from zqc.targets import Target


@dataclass(frozen=True)
class Plan:
    """A recipe with all that follows from it before anything is computed.

    Attributes:
        recipe: What the user asked for.
        target: Its target, found once.
        excluded: Names of the nodes that stay float (``--keep-float``).
        threads: Threads of ONNX Runtime; all cores for None.
        memory: About how many bytes the process may take.
        bits_of: Bits of the weights of single layers by name (``--bits-of``).
    """

    recipe: Recipe
    target: Target
    excluded: frozenset[str] = frozenset()
    threads: int | None = None
    memory: int = MEMORY
    bits_of: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, *, threads: int | None = None, memory: int = MEMORY) -> Plan:
        """Find the target of a recipe.

        Raises:
            OptionError: There is none, or it cannot do what the recipe asks for.
        """
        target = targets.find(recipe.target)
        _check(recipe, target)
        return cls(recipe, target, threads=threads, memory=memory)

    def excluding(self, names: Iterable[str]) -> Plan:
        """The same plan with these nodes in float."""
        return replace(self, excluded=frozenset(names))

    def with_bits(self, bits_of: Mapping[str, int]) -> Plan:
        """The same plan with so many bits for single layers, by name."""
        return replace(self, bits_of=dict(bits_of))


def _check(recipe: Recipe, target: Target) -> None:
    for option, bits in (
        ("--act-bits", recipe.act_bits),
        ("--first-last-bits", recipe.first_last_bits),
    ):
        if bits not in target.act_bits:
            possible = " or ".join(map(str, target.act_bits))
            raise OptionError(
                f"the target {target.name} has no activations of {bits} bits; say {option} "
                f"{possible}, or take another target (`zqc targets` lists them)"
            )
