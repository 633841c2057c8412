"""Processes that zqc starts end with it."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

CHILD = (
    "import time; from zqc.runtime.child_process import end_with_parent; end_with_parent(); "
    "print('ready', flush=True); time.sleep(60)"
)
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def waits(process_group):
    """Whether anything of a group is left that is not only waiting to be buried."""
    line = f"ps -o stat= -g {process_group} | grep -qv '^Z'"
    return subprocess.run(["sh", "-c", line], check=False).returncode == 0


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("ps") is None, reason="only Linux can do that"
)
def test_a_child_is_not_left_behind():
    """Its parent is killed, and it goes, too."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout.readline() == b"ready\n"
        parent.kill()
        parent.wait()
    for _ in range(600):
        if not waits(parent.pid):
            return
        time.sleep(0.05)
    os.killpg(parent.pid, signal.SIGKILL)
    pytest.fail("the child goes on")
