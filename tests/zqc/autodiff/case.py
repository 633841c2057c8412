"""What a row of the table of gradient checks says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OPSET = 17


@dataclass(frozen=True)
class Case:
    """One node to differentiate.

    Attributes:
        op: Operator.
        inputs: Tuples are shapes of float inputs that get a gradient; arrays and lists (INT64)
            are constants, None is a missing input.
        attributes: Of the node.
        domain: ``smooth`` draws from a normal distribution, ``positive`` from [0.5, 2],
            ``spaced`` gives distinct values 0.1 apart, none within 0.05 of a whole number, for
            functions with kinks.
        opset: Version of the default domain.
        outputs: How many outputs the node has; all of them are used unless ``used`` says less.
        used: The outputs that the loss depends on.
        integers: The outputs that are INT64.
        constants: Indices of float inputs that are initializers and get no gradient.
    """

    op: str
    inputs: tuple[tuple[int, ...] | list[int] | NDArray[np.generic] | None, ...]
    attributes: dict[str, object] = field(default_factory=dict)
    domain: str = "smooth"
    opset: int = OPSET
    outputs: int = 1
    used: tuple[int, ...] | None = None
    integers: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Show the case as the identity of its test."""
        shapes = ",".join(
            "x".join(map(str, i)) if isinstance(i, tuple) else "-" if i is None else "const"
            for i in self.inputs
        )
        options = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}({shapes}){options}@{self.opset}".replace(" ", "")


def f32(*values: float) -> NDArray[np.float32]:
    """Return a float constant."""
    return np.asarray(values, np.float32)


def scalar(value: float) -> NDArray[np.float32]:
    """Return a float constant without dimensions."""
    return np.asarray(value, np.float32)
