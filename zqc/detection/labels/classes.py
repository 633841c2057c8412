"""Which class of a model is meant by each class of the labels: by name, not by number."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from zqc.detection.labels.labels import Labels, Truth
from zqc.errors import LabelError

_REMEDY = (
    "name the model's classes in its metadata (names); zqc check takes --names, with a list or a "
    "file that has one name in each line"
)


@dataclass(frozen=True)
class ClassMatch:
    """Which class of the model each class of some labels is.

    Attributes:
        classes: The model's class by class of the labels; -1 where it has none and no box needs it.
        names: Name of each of the model's classes, as far as they are known.
        unjudged: The model's classes without a labelled box: what is found of them does not count.
        by_order: Whether the classes were matched by their order, for want of names.
    """

    classes: tuple[int, ...]
    names: dict[int, str]
    unjudged: tuple[int, ...]
    by_order: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the accuracy should know, in words; empty where there is nothing."""
        notes = []
        if self.by_order:
            notes.append("classes are matched by their order, for want of names")
        if self.unjudged:
            named = _listed([self.names.get(index, str(index)) for index in self.unjudged])
            notes.append(f"without a label, so not judged: {named}")
        return tuple(notes)

    def truth(self, labelled: Sequence[Truth]) -> list[Truth]:
        """Return labelled boxes with the model's classes."""
        return [truth.relabelled(self.classes) if len(truth) else truth for truth in labelled]


def match_classes(labels: Labels, names: Sequence[str], classes: int) -> ClassMatch:
    """Find the class of the model that each class of the labels is.

    1. By equal names; what is left, by names that are equal but for case, spaces, hyphens and
       underscores.
    2. Where the model or the labels have no names, by order, if both have as many classes and the
       order of the labels' classes means something.
    3. A class without a box need not be known to the model.

    Args:
        labels: The labels.
        names: Names of the model's classes by number; empty where they are unknown.
        classes: Number of the model's classes.

    Raises:
        LabelError: There is a box of a class that the model does not know or that could be two, or
            there are no names and the order says nothing.
    """
    used = labels.used
    if not labels.named or not names:
        return _by_order(labels, names, classes, used)
    if len(names) != classes:
        raise LabelError(
            f"the model has {classes} classes, but {len(names)} names: {_listed(names)}; {_REMEDY}"
        )
    found = _by_name(labels.categories, names)
    for index in sorted(used):
        if found[index] < 0:
            raise LabelError(_unknown(labels, index, names))
    taken: dict[int, int] = {}
    for index in sorted(used):
        other = taken.setdefault(found[index], index)
        if other != index:
            raise LabelError(
                f"{labels.categories[other]} and {labels.categories[index]} of {labels.path} are "
                f"both the model's {names[found[index]]}; make them one class"
            )
    for index in range(len(found)):  # what has no box gives way
        if found[index] >= 0 and taken.setdefault(found[index], index) != index:
            found[index] = -1
    return _match(tuple(found), names, classes, used)


def _by_name(categories: Sequence[str], names: Sequence[str]) -> list[int]:
    exact, loose = _indices(names), _indices([_plain(name) for name in names])
    return [
        exact.get(category, loose.get(_plain(category), -1) if category not in names else -1)
        for category in categories
    ]


def _indices(names: Sequence[str]) -> dict[str, int]:
    """Index of each name that occurs once."""
    count = dict.fromkeys(names, 0)
    for name in names:
        count[name] += 1
    return {name: index for index, name in enumerate(names) if count[name] == 1}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-\t")


def _by_order(
    labels: Labels, names: Sequence[str], classes: int, used: frozenset[int]
) -> ClassMatch:
    count = len(labels.categories)
    if not labels.ordered:
        raise LabelError(
            f"{labels.path} names its classes ({_listed(labels.categories)}), but the model's have "
            f"no names; {_REMEDY}"
        )
    if count != classes:
        whose = "the model's have no names" if labels.named else "they have no names"
        remedy = (
            _REMEDY
            if labels.named
            else "put a classes.txt with one name in each line beside them, or give the dataset's "
            "YAML"
        )
        raise LabelError(
            f"{labels.path} has {count} classes and the model {classes}; which is which cannot be "
            f"told, since {whose}: {remedy}"
        )
    known = names or (labels.categories if labels.named else ())
    return _match(tuple(range(count)), known, classes, used, by_order=True)


def _match(
    found: tuple[int, ...],
    names: Sequence[str],
    classes: int,
    used: frozenset[int],
    *,
    by_order: bool = False,
) -> ClassMatch:
    judged = {found[index] for index in used}
    return ClassMatch(
        found,
        dict(enumerate(names)),
        tuple(index for index in range(classes) if index not in judged),
        by_order,
    )


def _unknown(labels: Labels, index: int, names: Sequence[str]) -> str:
    category = labels.categories[index]
    known = f"the model knows {_listed(names)}; the labels have {_listed(labels.categories)}"
    if [_plain(name) for name in names].count(_plain(category)) > 1:
        return f"{category} of {labels.path} could be two of the model's classes: {known}"
    plain = {_plain(name): name for name in names}
    near = difflib.get_close_matches(_plain(category), plain, n=1)
    hint = f" (is it {plain[near[0]]}?)" if near else ""
    return (
        f"the model knows no class {category}{hint}, of which {labels.path} has boxes: {known}; "
        "rename it in the labels, or name the model's classes in its metadata (names); zqc check "
        "takes --names"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 12 else shown or "none"
