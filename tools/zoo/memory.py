"""The peak memory of compiling the networks of the zoo.

python -m tools.zoo.memory [NAME ...] [--export WAY ...] [--folder DIR] [-- OPTION ...]

The files are those that ``tools.zoo.build`` has written. Each is compiled in a process of its own,
by ``zqc compile FILE`` with the OPTIONS of zqc that are given, such as ``--bits 4 --effort quick``.
A row says the largest resident memory of that process, as ``--json`` tells it, what it is beside
the file of the model, and the seconds; or the error.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from tools.zoo.environment import FOLDER
from tools.zoo.exports import EXPORTS
from tools.zoo.registry import NETWORKS
from tools.zoo.running import run_zqc


@click.command()
@click.argument("arguments", nargs=-1, metavar="[NAME ...] [-- OPTION ...]")
@click.option("--export", "ways", multiple=True, type=click.Choice(sorted(EXPORTS)))
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=FOLDER / "models",
    show_default=True,
    help="Where the models are.",
)
def main(arguments: tuple[str, ...], ways: tuple[str, ...], folder: Path) -> None:
    """Compile the networks NAMES, or all, with the OPTIONS of zqc, and print a row for each."""
    names = [each for each in arguments if each in NETWORKS]
    options = [each for each in arguments if each not in NETWORKS]
    print("| model | export | peak | file | seconds |\n|---|---|---|---|---|")
    for name in names or NETWORKS:
        for way in ways or EXPORTS:
            model = folder / f"{name}.{way}.onnx"
            if model.exists():
                print(f"| {name} | {way} | {_measured(model, options)} |", flush=True)


def _measured(model: Path, options: list[str]) -> str:
    """Compile a file; the cells behind its name."""
    with tempfile.TemporaryDirectory() as folder:
        found = run_zqc("compile", str(model), "-o", f"{folder}/compiled.onnx", *options)
    if "error" in found:
        return f"{found['error']['type']}: {found['error']['message']} | |"
    peak, file = found["peak_memory"] / 1e9, found["bytes_before"] / 1e6
    return f"{peak:.2f} GB | {file:.1f} MB | {found['seconds']:.0f}"


if __name__ == "__main__":
    main()
