"""Pickles read without executing them.

A pickle is a program for a stack machine whose instructions import names and call them. This
machine has neither: a name stays a pair of strings, a call becomes a record of what would have been
called. What there is to a tensor, ``torch_file`` reads from such records.

Names of Python's own library beyond those that checkpoints need are refused all the same: who
asks for ``os.system`` means harm to other readers of the file.
"""

from __future__ import annotations

import pickletools
import struct
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, cast

from zqc.errors import StatisticsError
from zqc.statistics.files.pickle_names import Name

_MOST_OPERATIONS = 4_000_000
"""A whole pickled YOLO11x has 0.2 million. Each makes an object of at most some hundred bytes."""

NO_KEY = object()
"""Stands for a key that is no plain value; what is kept under it is never asked for."""


class Stream(Protocol):
    """What a pickle is read from: a binary file, a ``BytesIO`` or an ``mmap``."""

    def read(self, size: int = ..., /) -> bytes:
        """Read so many bytes, or fewer at the end."""

    def readline(self) -> bytes:
        """Read up to the end of a line."""


@dataclass(eq=False, frozen=True)
class Record:
    """What a pickle would have made by calling something: nothing was called.

    Attributes:
        of: What it would have called.
        arguments: With what.
        state: What it would have set afterwards, as the attributes of an object.
        items: What it would have put in under keys.
    """

    of: Name
    arguments: tuple[Any, ...]
    state: dict[Any, Any] = field(default_factory=dict)
    items: dict[Any, Any] = field(default_factory=dict)


class _DamagedError(Exception):
    """The pickle is none."""


_DAMAGES = (
    *(_DamagedError, ValueError, IndexError, KeyError, TypeError, OverflowError),
    *(EOFError, AssertionError, struct.error, RecursionError),
)
"""What comes of a damaged pickle, here or in ``pickletools``."""


def read_pickle(
    stream: Stream,
    source: str,
    *,
    call: Callable[[Name, tuple[Any, ...]], Any] | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Read a pickle up to its STOP, of any protocol.

    Args:
        stream: Where it starts.
        source: The file, for messages.
        call: Reads what a call of a name with these arguments makes; None for a ``Record``.
        persistent: Reads a persistent id; by default there may be none.

    Returns:
        Numbers, strings, bytes, None, lists, tuples, dicts, sets as lists, ``Name``, ``Record`` and
        what ``call`` and ``persistent`` return. It may hold itself.

    Raises:
        StatisticsError: It is damaged, too long, or asks for something that no checkpoint needs.
    """
    machine = _Machine(source, call or Record, persistent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools decodes escapes, which may be strange
            return machine.run(stream)
    except _DAMAGES as error:
        detail = str(error) or type(error).__name__
        raise StatisticsError(
            f"the pickle in {source} is damaged: {detail}; save or download it again"
        ) from error


class _Machine:
    def __init__(
        self,
        source: str,
        call: Callable[[Name, tuple[Any, ...]], Any],
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self.source, self.call, self.persistent = source, call, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.left = _MOST_OPERATIONS

    def run(self, stream: Stream) -> Any:
        """Follow every operation; ``pickletools`` reads them and checks what each one carries."""
        for opcode, argument, _ in pickletools.genops(cast("IO[bytes]", stream)):
            self._spend(1)
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise _DamagedError("it has no end")

    def _spend(self, operations: int) -> None:
        """Count operations, and copies of items: short programs can make many of those."""
        self.left -= operations
        if self.left < 0:
            raise StatisticsError(
                f"the pickle in {self.source} has more than {_MOST_OPERATIONS} operations, far "
                f"more than any checkpoint needs; {_REMEDY}"
            )

    def _step(self, operation: str, argument: Any) -> None:
        stack = self.stack
        if operation in _IGNORED:
            return
        if operation in _LITERALS:
            stack.append(argument)
        elif operation in _CONSTANTS:
            stack.append(_CONSTANTS[operation])
        elif operation in _EMPTY:
            stack.append(_EMPTY[operation]())
        elif operation in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = stack[-1]
        elif operation == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif operation in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self.memo[argument])
        elif operation in _HANDLERS:
            _HANDLERS[operation](self, argument)
        else:  # EXT1, EXT2, EXT4, PERSID, NEXT_BUFFER, READONLY_BUFFER
            raise self._refusal(f"uses the operation {operation} of pickles")

    def _refusal(self, what: str) -> StatisticsError:
        return StatisticsError(
            f"{self.source} {what}, which no checkpoint needs: it may be meant to do harm, and "
            f"nothing of it was run; {_REMEDY}"
        )

    def _marked(self) -> list[Any]:
        """What stands above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def _mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _pop(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._marked()

    def _pop_mark(self, _: object) -> None:
        self._marked()

    def _duplicate(self, _: object) -> None:
        self.stack.append(self.stack[-1])

    def _tuple(self, count: int | None) -> None:
        items = self._marked() if count is None else self._popped(count)
        self.stack.append(tuple(items))

    def _popped(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def _list(self, _: object) -> None:
        items = self._marked()
        self.stack.append(items)

    def _dict(self, _: object) -> None:
        items = self._marked()
        self.stack.append({})
        self._put(items)

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]
        place = target.items if isinstance(target, Record) else target
        if not isinstance(place, dict) or len(items) % 2:
            raise _DamagedError("keys and values without a dict")
        place.update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _set_item(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def _set_items(self, _: object) -> None:
        self._put(self._marked())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Record):
            target.items.update(zip(range(len(target.items), sys.maxsize), items, strict=False))
        elif isinstance(target, list):
            target += items
        else:
            raise _DamagedError("items without a list")

    def _append(self, _: object) -> None:
        self._extend([self.stack.pop()])

    def _append_all(self, _: object) -> None:
        self._extend(self._marked())

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self._name(module, name))

    def _stack_global(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _DamagedError("a name that is no text")
        self.stack.append(self._name(module, name))

    def _name(self, module: str, name: str) -> Name:
        found = Name.of(module, name)
        if not found.is_harmless:
            raise self._refusal(f"asks for {str(found)[:200]}")
        return found

    def _reduce(self, _: object) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self._made(function, arguments)

    def _new_with_names(self, _: object) -> None:
        named, arguments, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if not isinstance(named, dict):
            raise _DamagedError("named arguments that are no dict")
        self._made(cls, arguments)

    def _instance(self, argument: str) -> None:
        arguments = tuple(self._marked())
        self._global(argument)
        self._made(self.stack.pop(), arguments)

    def _object(self, _: object) -> None:
        cls, *arguments = self._marked()
        self._made(cls, tuple(arguments))

    def _made(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Name):
            raise self._refusal("calls something that is no name")
        if not isinstance(arguments, tuple):
            raise _DamagedError(f"the arguments of {function} are no tuple")
        made = _BUILT.get(str(function))
        if made is not None:
            self._spend(sum(len(each) for each in arguments if isinstance(each, (list, tuple))))
        self.stack.append(made(*arguments) if made else self.call(function, arguments))

    def _build(self, _: object) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict) and isinstance(target, Record):
                self._spend(len(part))
                target.state.update(part)

    def _persistent(self, _: object) -> None:
        if self.persistent is None:
            raise self._refusal("speaks of objects outside of its pickle")
        self.stack.append(self.persistent(self.stack.pop()))


def _key(key: Any) -> Any:
    """A key that can be looked up without asking what was read: hashing a tuple may not end."""
    if isinstance(key, int):
        return key if abs(key) < 1 << 64 else NO_KEY  # Python refuses to write longer ones
    return key if key is None or isinstance(key, (str, float, bytes)) else NO_KEY


def _ordered(pairs: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(pairs, dict):
        return pairs
    return {_key(pair[0]): pair[1] for pair in _items(pairs)}


def _default(_: Any = None, *rest: Any) -> dict[Any, Any]:
    return _ordered(*rest)


def _items(items: Any = (), *_: Any) -> list[Any]:
    return items if isinstance(items, list) else list(items) if isinstance(items, tuple) else []


def _reconstructed(cls: Any, *rest: Any) -> Record:
    if not isinstance(cls, Name):
        raise _DamagedError("an object without a class")
    return Record(cls, tuple(rest))


def _encoded(text: Any, *_: Any) -> Any:
    """Bytes as older pickles write them stay the text: none is asked for."""
    return text


_REMEDY = (
    "if you made it yourself, save the weights alone: torch.save(model.state_dict(), 'weights.pt')"
)

_BUILT: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "builtins.dict": _ordered,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "builtins.set": _items,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default,
    "copyreg._reconstructor": _reconstructed,
}
"""What is made of the containers: functions of this module, which call nothing that was read."""

_IGNORED = frozenset({"FRAME", "PROTO"})
_LITERALS = frozenset(
    {"BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINSTRING"}
    | {"BINUNICODE", "BINUNICODE8", "BYTEARRAY8", "FLOAT", "INT", "LONG", "LONG1", "LONG4"}
    | {"SHORT_BINBYTES", "SHORT_BINSTRING", "SHORT_BINUNICODE", "STRING", "UNICODE"}
)
_CONSTANTS: dict[str, Any] = {"EMPTY_TUPLE": (), "NEWFALSE": False, "NEWTRUE": True, "NONE": None}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list}

_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "ADDITEMS": _Machine._append_all,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._append_all,
    "BINPERSID": _Machine._persistent,
    "BUILD": _Machine._build,
    "DICT": _Machine._dict,
    "DUP": _Machine._duplicate,
    "FROZENSET": _Machine._list,
    "GLOBAL": _Machine._global,
    "INST": _Machine._instance,
    "LIST": _Machine._list,
    "MARK": _Machine._mark,
    "NEWOBJ": _Machine._reduce,
    "NEWOBJ_EX": _Machine._new_with_names,
    "OBJ": _Machine._object,
    "POP": _Machine._pop,
    "POP_MARK": _Machine._pop_mark,
    "REDUCE": _Machine._reduce,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "STACK_GLOBAL": _Machine._stack_global,
    "TUPLE": lambda machine, _: machine._tuple(None),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
}
