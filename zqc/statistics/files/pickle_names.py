"""The names that a pickle may ask for."""

from __future__ import annotations

import sys
from dataclasses import dataclass

_OWN = sys.stdlib_module_names | {"__builtin__", "commands", "copy_reg", "exceptions"}
"""Modules of Python's library, those of Python 2 too."""

_INNOCENT: dict[str, frozenset[str]] = {
    "_codecs": frozenset({"encode"}),
    "argparse": frozenset({"Namespace"}),
    "builtins": frozenset(
        {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list"}
        | {"object", "range", "set", "slice", "str", "tuple"}
    ),
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque"}),
    "copyreg": frozenset({"_reconstructor"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "pathlib": frozenset({"Path", "PosixPath", "PurePath", "PurePosixPath", "WindowsPath"}),
    "types": frozenset({"SimpleNamespace"}),
}
"""Names of Python's library that stand in checkpoints: containers and what options are kept in."""

_SAME = {"__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib"}

_HARMFUL = frozenset({"builtins", "importlib", "nt", "os", "posix", "shutil", "subprocess", "sys"})

"""Of the modules of Python's library that others import, those that harm can be done with."""


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names: never looked up.

    Attributes:
        module: Where a pickle would import it from.
        name: In that module, dots for what stands inside of a class.
    """

    module: str
    name: str

    def __str__(self) -> str:
        """As Python writes it."""
        return f"{self.module}.{self.name}"

    @classmethod
    def of(cls, module: str, name: str) -> Name:
        """Take it as Python 3 has it."""
        return cls(_SAME.get(module, module), name)

    @property
    def is_harmless(self) -> bool:
        """Whether checkpoints have such names.

        Those of Python's own library only if they are on the list. All others are classes and
        functions of PyTorch, of packages and of users, unless they lead back to that library, as
        ``numpy.f2py.os.system`` does.
        """
        root, *inner = (*self.module.split("."), *self.name.split("."))
        if root in _OWN:
            return self.name in _INNOCENT.get(self.module, ())
        return not any(part in _HARMFUL or part.startswith("__") for part in inner)
