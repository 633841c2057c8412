"""How long work tells of its progress: a bar on a terminal, plain lines in a pipe, or nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Task(Protocol):
    """One piece of long work."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """Count ``steps`` more as done; ``note`` stands beside the bar (a loss, a layer)."""


class Progress(Protocol):
    """Where long work reports to."""

    def task(self, name: str, total: int) -> AbstractContextManager[Task]:
        """Begin a piece of work of ``total`` steps; it ends with the context."""


class _Nothing:
    def advance(self, note: str = "", steps: int = 1) -> None:
        pass


class Silent:
    """Reports nothing: the default of the Python interface."""

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Task]:  # noqa: ARG002 - the protocol's names
        """Return a task that says nothing."""
        yield _Nothing()
