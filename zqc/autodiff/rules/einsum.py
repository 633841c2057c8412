"""The gradient of Einsum: a sum of products, so it is an Einsum of the others."""

from __future__ import annotations

import string
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from zqc.autodiff.context import Context, Vjp
    from zqc.autodiff.emitter import Dim

_ELLIPSIS = "..."


def einsum(at: Context, *xs: ir.Value, equation: str) -> Sequence[Vjp]:
    """Of "a,b->y": Einsum "y,b->a" of dy and b, and "y,a->b" of dy and a; so for any number.

    An index that no other operand and not the output has was summed over: dy is constant along it.
    Not with an index twice in one operand, which is a diagonal.
    """
    terms, result = _spelt_out(at, xs, equation)
    if any(len(set(term)) < len(term) for term in (*terms, result)):
        raise at.refusal(f"an index stands twice in one operand of {equation!r}")
    sizes: dict[str, Dim] = {}
    for term, x in zip(terms, xs, strict=True):
        for index, size in zip(term, at.dims(x), strict=True):
            if sizes.get(index, 1) == 1:
                sizes[index] = size

    def vjp(i: int) -> ir.Value:
        others = [j for j in range(len(xs)) if j != i]
        given = [result, *(terms[j] for j in others)]
        kept = "".join(index for index in terms[i] if any(index in term for term in given))
        asked = f"{','.join(given)}->{kept}"
        gradient = at.op("Einsum", at.dy, *(xs[j] for j in others), equation=asked)
        at.shaped(gradient, [sizes[index] for index in kept])
        missing = [axis for axis, index in enumerate(terms[i]) if index not in kept]
        if not missing:
            return gradient
        shape = [sizes[index] if index in kept else 1 for index in terms[i]]
        return at.shaped(at.op("Unsqueeze", gradient, missing), shape)

    return [partial(vjp, i) for i in range(len(xs))]


def _spelt_out(at: Context, xs: Sequence[ir.Value], equation: str) -> tuple[list[str], str]:
    """The indices of each operand and of the output, the ellipsis and the output spelt out."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    letters = sorted(set(left) & set(string.ascii_letters))
    free = [letter for letter in string.ascii_letters if letter not in letters]
    ranks = [
        len(at.dims(x)) - len(term.replace(_ELLIPSIS, "")) if _ELLIPSIS in term else 0
        for term, x in zip(terms, xs, strict=True)
    ]
    wide = "".join(free[: max(ranks)])
    spelt = [
        term.replace(_ELLIPSIS, wide[len(wide) - rank :])
        for term, rank in zip(terms, ranks, strict=True)
    ]
    if not arrow:
        right = _ELLIPSIS + "".join(letter for letter in letters if left.count(letter) == 1)
    return spelt, right.replace(_ELLIPSIS, wide)
