"""The oldest versions that pyproject.toml allows, as constraints for pip.

    python tools/lower_bounds.py [PYPROJECT]

Of every requirement, those of extras and of the build among them, ``name==bound`` is printed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parent.parent


def lower_bounds(pyproject: Path) -> Iterator[str]:
    """Yield a constraint for every requirement but those of the project's own extras.

    Raises:
        ValueError: A requirement has no lower bound, so that nobody can test the oldest version.
    """
    content = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = content["project"]
    extras = project.get("optional-dependencies", {}).values()
    for requirement in chain(content["build-system"]["requires"], project["dependencies"], *extras):
        versions = requirement.partition(";")[0]  # what follows are conditions
        name = re.split(r"[^\w.-]", versions, maxsplit=1)[0]
        bound = re.search(r"[>=~]=\s*([\w.]+)", versions)
        if name == project["name"]:
            continue
        if bound is None:
            raise ValueError(f"{requirement} has no lower bound; write {requirement}>=VERSION")
        yield f"{name}=={bound[1]}"


if __name__ == "__main__":
    print(*lower_bounds(Path(*sys.argv[1:]) if sys.argv[1:] else ROOT / "pyproject.toml"), sep="\n")
