"""Finished evaluations in a file, so that Ctrl-C costs nothing: JSON, one line each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from zqc.diagnosis.effects import Effect
from zqc.errors import OutputError
from zqc.files.places import check_file


class Cache:
    """Effects by key, in memory and, where there is a file, at once in that, too.

    The first line of the file says what was evaluated. A line that an interruption cut short is
    left out.

    Args:
        of: What is evaluated, as a hash: effects of anything else do not count.
        path: The file; None to keep nothing.
        resume: Whether effects that the file has are taken over; otherwise it begins anew.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, of: str, path: Path | None = None, *, resume: bool = False) -> None:
        self._path = path
        self._known: dict[str, Effect] = {}
        if path is None:
            return
        check_file(path)
        if resume and path.exists():
            self._known = _read(path, of)
        entries = [{"of": of}, *(_entry(key, effect) for key, effect in self._known.items())]
        self._write("".join(map(_line, entries)), mode="w")

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Effect:
        return self._known[key]

    def add(self, key: str, effect: Effect) -> None:
        """Keep an effect.

        Raises:
            OutputError: The file cannot be written.
        """
        self._known[key] = effect
        if self._path is not None:
            self._write(_line(_entry(key, effect)), mode="a")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _write(self, text: str, *, mode: str) -> None:
        assert self._path is not None
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error


def _read(path: Path, of: str) -> dict[str, Effect]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = [entry for entry in map(_parsed, lines) if isinstance(entry, dict)]
    if not entries or entries[0].get("of") != of:
        return {}
    names = {field.name for field in dataclasses.fields(Effect)}
    return {
        str(entry["key"]): Effect(**entry["effect"])
        for entry in entries[1:]
        if isinstance(entry.get("effect"), dict) and set(entry["effect"]) == names
    }


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _entry(key: str, effect: Effect) -> dict[str, Any]:
    return {"key": key, "effect": dataclasses.asdict(effect)}


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"
