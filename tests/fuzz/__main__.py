"""Try as many cases as some minutes allow, in as many processes as there are cores.

::

    python -m tests.fuzz --minutes 20

Prints a table of counts and, above it, every case that went wrong with its number, which
``python -m tests.fuzz --only NUMBER`` tries again. Leaves with 1 if there is any.
"""

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz import oracle

LIMIT = 60.0
"""Seconds that a case may take."""

ROOT = Path(__file__).parents[2]
MODELS = ("model", "pair", "compiled")
COLUMNS = (
    ("models mutated", lambda kind, _: kind in MODELS),
    ("of them compiled", lambda kind, _: kind == "compiled"),
    ("other inputs", lambda kind, _: kind not in MODELS),
    ("accepted", lambda _, outcome: outcome == "accepted"),
    ("refused", lambda _, outcome: outcome == "refused"),
    ("unexpected errors", lambda _, outcome: outcome == "unexpected"),
    ("deaths by signal", lambda _, outcome: outcome == "death"),
    ("accepted and different", lambda _, outcome: outcome == "different"),
    (f"beyond {LIMIT:.0f} s", lambda _, outcome: outcome == "slow"),
)
WRONG = ("unexpected", "death", "different", "slow")


class Worker:
    """A process that tries every ``step``-th case and says before and after each that it does."""

    def __init__(self, number, step):
        self.number, self.step = number, step
        self.start()

    def start(self):
        """Begin at the next case."""
        command = [sys.executable, "-m", "tests.fuzz", "--work", str(self.number), str(self.step)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self.rest = b""
        self.since = time.monotonic()

    def lines(self):
        """What it has said since; None where it is gone."""
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines if data else None

    def end(self):
        """Kill it; return whether it had died by a signal before."""
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        return code is not None and code < 0


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=int, help="try one case")
    parser.add_argument("--work", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
    elif options.only is not None:
        with oracle.quiet(), tempfile.TemporaryDirectory() as folder:
            print(*oracle.judged(options.only, folder))
    else:
        sys.exit(run(options.minutes, options.first, options.processes))


def work(number, step):
    """Try cases until nobody listens."""
    with oracle.quiet(), tempfile.TemporaryDirectory() as folder:
        reply = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # C++ prints where nobody looks
        while True:
            reply.write(f"{number}\n")
            found = oracle.judged(number, folder)
            reply.write(json.dumps(found) + "\n")
            number += step


def run(minutes, first, processes):
    """Let processes work for some minutes; print what went wrong and the counts."""
    counts = Counter()
    workers = [Worker(first + index, processes) for index in range(processes)]
    started = time.monotonic()
    while time.monotonic() - started < 60 * minutes:
        with selectors.DefaultSelector() as selector:
            for worker in workers:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            for key, _ in selector.select(timeout=1):
                _listen(key.data, counts)
        for worker in workers:
            if time.monotonic() - worker.since > LIMIT:
                worker.end()
                _note(counts, worker, _by_command(worker.number, "slow"))
    for worker in workers:
        worker.end()
    print(f"{(time.monotonic() - started) / 60:.1f} minutes, {processes} processes, from {first}")
    for name, counted in COLUMNS:
        print(f"{name:<24}{sum(n for case, n in counts.items() if counted(*case)):>8}")
    return int(any(outcome in WRONG for _, outcome in counts))


def _listen(worker, counts):
    """Take what a worker says."""
    lines = worker.lines()
    if lines is None:
        worker.process.wait()
        died = worker.end()
        _note(counts, worker, _by_command(worker.number, "death") if died else _gone(worker.number))
        return
    for line in lines:
        if line.startswith(b"["):
            _note(counts, worker, oracle.Found(*json.loads(line)), goes_on=True)
        else:
            worker.number, worker.since = int(line), time.monotonic()


def _note(counts, worker, found, *, goes_on=False):
    """Count a case, and let the worker go on behind it."""
    counts[found.kind, found.outcome] += 1
    if found.outcome in WRONG:
        print(f"case {worker.number}: {found.kind}, {found.outcome}: {found.said}", flush=True)
    if not goes_on:
        worker.number += worker.step
        worker.start()


def _gone(number):
    return oracle.Found(oracle.case(number)[0], "unexpected", "the process has ended")


def _by_command(number, outcome):
    """What becomes of a case that ended a worker, where users give it to zqc.

    There foreign C++ works in a process of its own, whose death is an error of zqc's.
    """
    kind, ending, content = oracle.case(number)
    if kind not in MODELS:
        return oracle.Found(kind, outcome, "read in this process")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"case{ending}"
        path.write_bytes(content)
        command = [sys.executable, "-m", "zqc", "inspect", str(path)]
        if kind == "pair":
            command[3:] = ["bench", str(path), str(path), "--runs", "1", "--input-shape", "8x8"]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
            )
        except subprocess.TimeoutExpired:
            return oracle.Found(kind, "slow", f"also as zqc {command[3]}")
    if done.returncode == 1:
        return oracle.Found(kind, "refused")
    said = done.stderr.strip().splitlines()[-1:] or [""]
    name = signal.Signals(-done.returncode).name if done.returncode < 0 else done.returncode
    return oracle.Found(kind, outcome, f"zqc {command[3]} ends with {name}: {said[0][:200]}")


if __name__ == "__main__":
    main()
