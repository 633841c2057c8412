"""As what zqc knows the files of the zoo, without any option.

python -m tools.zoo.known [--folder DIR]

The files are those that ``tools.zoo.build`` has written. They have no metadata, so that graph and
shapes decide.
"""

from __future__ import annotations

from pathlib import Path

import click

from tools.zoo.environment import FOLDER
from tools.zoo.registry import NETWORKS
from zqc.commands.detector import detector_of
from zqc.errors import ZqcError
from zqc.model_io import model_file

EXPORTS = ("torchscript", "dynamo-plain")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FOLDER / "models",
    show_default=True,
    help="Where the models are.",
)
def main(folder: Path) -> None:
    """Print a row for each network."""
    print(f"| network | {' | '.join(EXPORTS)} |")
    print("|---" * (len(EXPORTS) + 1) + "|")
    for name in NETWORKS:
        cells = [_known(folder / f"{name}.{export}.onnx") for export in EXPORTS]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _known(file: Path) -> str:
    if not file.exists():
        return "no file"
    try:
        convention = detector_of(model_file.load(file)).convention
    except ZqcError as error:
        return f"refused: {type(error).__name__}"
    if convention is None:
        return "not known"
    return f"{convention.name}, {convention.task}, {convention.classes} classes"


if __name__ == "__main__":
    main()
