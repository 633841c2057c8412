"""The command line of zqc in a process of its own, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tools.paths import ROOT

SECONDS = 1800.0
"""How long one command may take."""

Result = dict[str, Any]


def run_zqc(*arguments: str) -> Result:
    """Run zqc and return its JSON object; whatever else it ends with becomes an error, too."""
    command = [sys.executable, "-m", "zqc", *arguments, "--json"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": {"type": "Timeout", "message": f"took more than {SECONDS:.0f} s"}}
    try:
        result: Result = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        message = f"code {done.returncode}: {last}"
        return {"error": {"type": "Crash", "message": message}}
    return result
