"""Foreign C++ may print, hang and die: what happens in the child process stays there."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests import nets
from zqc.errors import AlreadyQuantizedError, ModelError
from zqc.model_io import any_model, child, model_file, preparation

pytestmark = pytest.mark.child_process

ROOT = Path(__file__).parents[3]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# What the simplifier of a hostile model does, and what the log then says of it.
DEATHS = {
    "signal": ("os.kill(os.getpid(), signal.SIGSEGV)", "it died by SIGSEGV"),
    "out of memory": ("os.kill(os.getpid(), signal.SIGKILL)", "perhaps for want of memory"),
    "exit": ("os._exit(3)", "it ended with exit code 3"),
    "exception": ("raise RuntimeError('no luck')", "no luck"),
}


@pytest.fixture
def onnxsim(tmp_path, monkeypatch):
    """Put another onnxsim in the place of the real one; its simplify() runs the given lines."""

    def install(*lines, module="onnxsim"):
        folder = tmp_path / "modules"
        folder.mkdir()
        body = "".join(f"    {line}\n" for line in lines)
        (folder / f"{module}.py").write_text(
            "import os, pathlib, signal, time\n"
            f"def simplify(model, **options):\n{body}    return model, True\n"
        )
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)

    return install


def unsimplified(proto):
    """The model made ready in this process, without onnxsim."""
    return preparation.prepared(proto, input_shape=None, simplify=False)


def prepared(proto):
    """The model made ready in a child process."""
    return child.prepared(proto, input_shape=None)


def same(one, other):
    """Whether two models compute the same in the same way; what shapes are noted does not count."""
    graphs = [one.graph, other.graph]
    parts = ("node", "initializer", "input", "output")
    return all(list(getattr(graphs[0], p)) == list(getattr(graphs[1], p)) for p in parts)


def running(process):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_same_in_the_child():
    """The child makes of a model what this process makes of it."""
    proto = nets.detector()
    assert same(prepared(proto), preparation.prepared(proto, input_shape=None, simplify=True))


def test_threads_and_prints(detector_file):
    """Two threads load, every print arrives, and onnxsim is not imported where they run."""
    script = f"""
import sys, threading
from pathlib import Path
from zqc.model_io import model_file

loaded = []
load = lambda: loaded.append(model_file.load(Path({str(detector_file)!r})))
print("out before", flush=True)
threads = [threading.Thread(target=load) for _ in range(2)]
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    print("out meanwhile", flush=True)
    print("err meanwhile", file=sys.stderr, flush=True)
    threads[0].join(0.05)
print("out after", len(loaded), "onnxsim" in sys.modules)
print("err after", file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, *middle, last = done.stdout.splitlines()
    assert (first, set(middle), last) == ("out before", {"out meanwhile"}, "out after 2 False")
    *middle, last = done.stderr.splitlines()
    assert (middle, last) == (["err meanwhile"] * len(middle), "err after")


def test_child_that_prints(onnxsim, capfd, caplog, monkeypatch):
    """What C++ prints while it works reaches the log, and neither results nor progress."""
    # Commands that were tested before have sent the log to the standard error.
    monkeypatch.setattr(logging.getLogger(), "handlers", [caplog.handler])
    onnxsim("os.write(1, b'WARNING on 1')", "os.write(2, b'WARNING on 2')", "print('on stdout')")
    proto = nets.detector()
    expected = unsimplified(proto)
    capfd.readouterr()
    with caplog.at_level(logging.DEBUG, logger="zqc"):
        assert same(prepared(proto), expected)
    assert capfd.readouterr() == ("", "")
    assert all(text in caplog.text for text in ("WARNING on 1", "WARNING on 2", "on stdout"))
    assert "the model is used unsimplified" not in caplog.text


@POSIX
@pytest.mark.parametrize(("line", "words"), DEATHS.values(), ids=DEATHS)
def test_onnxsim_dies(line, words, onnxsim, caplog):
    """A simplifier that dies costs the simplification: the log says how, and the model is used."""
    onnxsim(line)
    proto = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert same(prepared(proto), unsimplified(proto))
    (record,) = caplog.records
    assert record.getMessage().startswith("onnxsim failed, the model is used unsimplified: ")
    assert words in record.getMessage()


@POSIX
def test_onnxsim_hangs(onnxsim, tmp_path, monkeypatch, caplog):
    """A simplifier that never ends is ended, and the model is used as it is."""
    pid = tmp_path / "pid"
    onnxsim(f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))", "time.sleep(600)")
    monkeypatch.setattr(child, "_SECONDS", 10.0)  # far more than it takes to start
    proto = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert same(prepared(proto), unsimplified(proto))
    assert "the model is used unsimplified: it took longer than 10 s" in caplog.text
    assert not running(pid.read_text())


@POSIX
def test_onnx_dies(onnxsim, detector_file):
    """A model that kills onnx itself is refused, with its path and the signal."""
    # Python runs this module before any other, in the child alone: it is started by then here.
    onnxsim("pass", module="sitecustomize")
    module = Path(sys.path[0]) / "sitecustomize.py"
    module.write_text(
        "import os, onnx.shape_inference\n"
        "onnx.shape_inference.infer_shapes = lambda *_, **__: os.abort()\n"
    )
    with pytest.raises(ModelError, match=r"detector\.onnx: .*cannot be read: onnx died by SIGABRT"):
        model_file.load(detector_file)


@POSIX
def test_onnx_runtime_dies(onnxsim, detector_file):
    """A model that kills ONNX Runtime is refused by what is compiled and by what is compared."""
    onnxsim("pass", module="sitecustomize")
    module = Path(sys.path[0]) / "sitecustomize.py"
    module.write_text(
        "import os, onnxruntime\nonnxruntime.InferenceSession = lambda *_, **__: os.abort()\n"
    )
    for read in (model_file.load, any_model.split_file):
        with pytest.raises(ModelError, match=r"detector\.onnx: .*first run .* died by SIGABRT"):
            read(detector_file)


def test_errors_come_across():
    """An error of the child has here the type and the message that it has there."""
    proto = nets.detector()
    proto.graph.node[0].op_type = "QLinearConv"
    with pytest.raises(AlreadyQuantizedError) as here:
        unsimplified(proto)
    with pytest.raises(AlreadyQuantizedError) as there:
        prepared(proto)
    assert str(there.value) == str(here.value)


def test_damaged_model():
    """What libraries raise of a damaged model is a ModelError that says what they found first."""
    proto = nets.detector()
    tensor = onnx.numpy_helper.from_array(np.zeros(2, np.float32))
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["two"], valuu=tensor))
    with pytest.raises(ModelError, match=r"damaged or not valid ONNX: .*valuu"):
        prepared(proto)


@POSIX
@pytest.mark.parametrize("program", [None, "", "/nowhere/python", "/bin/false", "/bin/true"])
def test_no_python_to_start(program, monkeypatch, caplog):
    """Where no child can be started, the model is used unsimplified, and the log says so."""
    monkeypatch.setattr(sys, "executable", program)
    proto = nets.detector()
    with caplog.at_level(logging.WARNING):
        assert same(prepared(proto), unsimplified(proto))
    assert "onnxsim cannot run here, the model is used unsimplified" in caplog.text


def test_frozen_program_does_not_start_itself(monkeypatch, caplog):
    """In a frozen program sys.executable is that program, so nothing is started."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "run", None)
    assert prepared(nets.detector())
    assert "no Python of its own to start" in caplog.text


def test_current_folder_is_no_source_of_modules(detector_file, tmp_path, monkeypatch):
    """The child finds zqc from anywhere, and imports nothing that happens to lie there."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("onnx", "onnxsim", "zqc"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the current folder')")
    expected = prepared(onnx.load(detector_file))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert prepared(onnx.load(detector_file)) == expected


@POSIX
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "parent alone"])
def test_interrupted(whole_group, onnxsim, detector_file, tmp_path):
    """Ctrl-C while the child works ends both processes, with one line and nothing left behind."""
    pid = tmp_path / "pid"
    onnxsim(
        f"pathlib.Path({str(pid)!r}).with_suffix('.new').write_text(str(os.getpid()))",
        f"pathlib.Path({str(pid)!r}).with_suffix('.new').rename({str(pid)!r})",
        "time.sleep(600)",
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "zqc", "inspect", str(detector_file)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not pid.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err.splitlines()[-1]) == ("", "Error: interrupted, nothing was written")
    assert "Traceback" not in err
    # It has been killed by now, but may not be gone.
    while running(pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(pid.read_text())
    # ONNX Runtime writes .ses when it is imported; it is not of a model.
    assert not [entry for entry in scratch.iterdir() if entry.name != ".ses"]
