"""A peer's virtual environment: made on first use, and where its runner runs under a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

RUNNERS = Path(__file__).parent / "runners"
_STAMP = "installed.txt"


class SkippedError(Exception):
    """Why a peer, or one of its variants, has no numbers."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the packages of one peer.

    Attributes:
        folder: Where it is.
        requirements: What is installed in it.
        seconds: How long an installation, or one run, may take.
    """

    folder: Path
    requirements: tuple[str, ...]
    seconds: float

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder.absolute() / "bin" / "python"

    def ensure(self) -> None:
        """Make it, unless it is there with the same requirements.

        Raises:
            SkippedError: It could not be made, or not in time.
        """
        stamp, wanted = self.folder / _STAMP, "\n".join(self.requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "venv", "--clear", str(self.folder.absolute())]
        _output(command, self.seconds, "making its environment")
        pip = [str(self.python), "-m", "pip", "install", "--quiet", *self.requirements]
        _output(pip, self.seconds, "installing it")
        stamp.write_text(wanted)

    def run(
        self, runner: str, model: Path, pictures: Path, output: Path, config: dict[str, object]
    ) -> float:
        """Let a runner quantize, and return the processor seconds that it took by its own count.

        Raises:
            SkippedError: It failed, wrote nothing, or was not done in time.
        """
        files = [str(path.absolute()) for path in (model, pictures, output)]
        command = [str(self.python), str(RUNNERS / runner), *files, json.dumps(config)]
        printed = _output(command, self.seconds, "running it")
        if not output.exists():
            raise SkippedError("it wrote no file")
        seconds: float = json.loads(printed.splitlines()[-1])["seconds"]
        return seconds


def _output(command: list[str], seconds: float, doing: str) -> str:
    """What a command prints, run in an empty folder, for some peers litter the one they run in."""
    with (
        tempfile.TemporaryDirectory() as empty,
        subprocess.Popen(
            command,
            cwd=empty,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what it starts ends with it
        ) as process,
    ):
        try:
            printed, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise SkippedError(f"{doing} took more than {seconds:.0f} s") from None
            raise
    if process.returncode:
        raise SkippedError(f"{doing} failed: {_last_line(errors or printed)}")
    return printed


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
