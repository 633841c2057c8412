"""Targets by name: those that come with zqc, and those that other packages bring along.

A package adds one by an entry point of the group ``zqc.targets``, whose name is the target's and
whose object is a ``Target``; see docs/targets.md. Names are known without anything being imported.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from zqc.errors import OptionError

if TYPE_CHECKING:
    from zqc.targets.target import Target

GROUP = "zqc.targets"
"""The entry points that are asked for targets."""

_HOMES = {
    "ort-x86": ("zqc.targets.onnx_runtime", "ORT_X86"),
    "ort-arm": ("zqc.targets.onnx_runtime", "ORT_ARM"),
    "portable": ("zqc.targets.standard", "PORTABLE"),
    "symmetric": ("zqc.targets.standard", "SYMMETRIC"),
    "openvino": ("zqc.targets.openvino", "OPENVINO"),
    "tensorrt": ("zqc.targets.tensorrt", "TENSORRT"),
    "qnn": ("zqc.targets.qnn", "QNN"),
    "vitisai": ("zqc.targets.vitisai", "VITISAI"),
}
"""Loaded on first use (PEP 562): `zqc --help` must not wait for the passes."""

BUILT_IN = tuple(_HOMES)
"""The targets that come with zqc, by name."""


def names() -> tuple[str, ...]:
    """Every name that ``find`` knows: zqc's own first, then those of other packages."""
    return tuple(dict.fromkeys((*BUILT_IN, *sorted(_added()))))


def check_name(name: str) -> None:
    """Refuse a name that no target has.

    Raises:
        OptionError: The message names the nearest one.
    """
    if name in _HOMES or name in _added():
        return
    nearest = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise OptionError(f"target is {name!r}, but {hint}must be one of {', '.join(names())}")


def find(name: str) -> Target:
    """Return the target of a name.

    Raises:
        OptionError: No target is called so, or the package that brings it along is broken.
    """
    check_name(name)
    if name in _HOMES:
        module, attribute = _HOMES[name]
        own: Target = getattr(import_module(module), attribute)
        return own
    return _loaded(_added()[name])


def package_of(name: str) -> str:
    """Return the distribution that brings a target along; empty for zqc's own."""
    entry = None if name in _HOMES else _added().get(name)
    return "" if entry is None or entry.dist is None else entry.dist.name


def _added() -> dict[str, EntryPoint]:
    """The entry points of other packages by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _loaded(entry: EntryPoint) -> Target:
    from zqc.targets.target import Target

    package = "" if entry.dist is None else f" of the package {entry.dist.name}"
    broken = f"the target {entry.name!r}{package} cannot be used: {entry.value}"
    try:
        found = entry.load()
    except Exception as error:  # whatever a foreign module raises when it is imported
        said = f"{type(error).__name__}: {error}"
        raise OptionError(f"{broken} fails with {said}; mend or uninstall it") from error
    if not isinstance(found, Target):
        raise OptionError(f"{broken} is a {type(found).__name__}, not a zqc.targets.Target")
    if found.name != entry.name:
        raise OptionError(f"{broken} calls itself {found.name!r}; give both the same name")
    return found
