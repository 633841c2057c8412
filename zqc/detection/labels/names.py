"""Names of classes from a file or a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from zqc.errors import LabelError
from zqc.parsing import text

_DEEPEST = 100
"""Brackets in brackets; a dataset has two."""


def read_names(path: Path) -> tuple[str, ...]:
    """Read names of classes: one in each line, or the ``names`` of a dataset's YAML.

    Raises:
        LabelError: The file is missing or names nothing.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        names = yaml_names(read_yaml(path), path)
    else:
        names = tuple(line.strip() for line in read_text(path).splitlines())
        while names and not names[-1]:
            names = names[:-1]
    if not names or not all(names):
        raise LabelError(f"{path} must name one class in each line, without empty lines between")
    return names


def given_names(given: str) -> tuple[str, ...]:
    """Names that a user gives: with commas between, a single one, or a file for ``read_names``.

    What has a dot or a slash, but no comma, is a file.

    Raises:
        LabelError: The file cannot be used, or a name is empty.
    """
    names = tuple(name.strip() for name in given.split(","))
    if len(names) == 1 and ("." in given or "/" in given or "\\" in given):
        return read_names(Path(given))
    if not all(names):
        raise LabelError(f"the names {given} have an empty one; expected a file or cat,dog")
    return names


def yaml_names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    """The ``names`` of a dataset's YAML by class number; empty where it has none.

    Raises:
        LabelError: They are neither a list nor numbered from 0 without gaps.
    """
    names = content.get("names")
    if names is None:
        return ()
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise LabelError(f"names in {path} must be numbered 0, 1, 2, … without gaps")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or any(isinstance(name, list | dict) for name in names):
        raise LabelError(f"names in {path} must be a list, or numbers with a name each")
    return tuple(str(name) for name in names)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds keys.

    Raises:
        LabelError: It is missing or something else.
    """
    try:
        content = yaml.safe_load(_checked(text.read_text(path)))
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error.strerror or error}") from error
    except text.ParseError as error:
        raise LabelError(f"{path} {error}") from error
    except RecursionError as error:
        raise LabelError(f"{path} is nested without end, which no dataset is") from error
    except Exception as error:  # of a damaged scalar, PyYAML lets any error through
        said = " ".join(str(error).split())[:200]
        raise LabelError(f"{path} is not YAML: {said or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise LabelError(f"{path} describes no dataset; expected path, val and names")
    return content


def _checked(content: str) -> str:
    """Refuse brackets without end, over which PyYAML takes the square of their number."""
    depth = 0
    for letter in content:
        depth += (letter in "[{") - (letter in "]}")
        if depth > _DEEPEST:
            raise RecursionError
    return content


def read_text(path: Path) -> str:
    """Read a file of labels.

    Raises:
        LabelError: It cannot be read, or is not text.
    """
    try:
        return text.read_text(path, most=text.MOST_BYTES_OF_DATA)
    except OSError as error:
        raise LabelError(f"cannot read the labels {path}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a null character, too
        raise LabelError(f"cannot read the labels {path}, which {error}") from error
