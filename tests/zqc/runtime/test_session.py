"""Runs that keep what they compute where it is."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from tests import nets
from tests.passes.helpers import build_model
from zqc.errors import RuntimeFailure
from zqc.runtime import session

STEP = """(float[N,4] state, float[4] slope, float rate) =>
        (float[a,b] next, float[c] total, float[d,e] same) {
    change = Mul(slope, rate)
    next = Sub(state, change)
    total = ReduceSum<keepdims=0>(next, rows)
    same = Identity(state)
}"""


@pytest.fixture
def runner():
    """A step of gradient descent."""
    return session.load(build_model(STEP, opset=17, rows=np.array([0])), threads=1)


@pytest.fixture
def feeds(rng):
    """What comes from the host, a scalar among it."""
    return {"slope": rng.normal(size=4).astype("f"), "rate": np.array(0.5, "f")}


def kept(array):
    """A value of ONNX Runtime's that shares nothing with the array."""
    return session.to_device(array.copy())


@pytest.mark.parametrize(("size", "fixed"), [("3", 3), ("N", None), ("", None)])
def test_the_batch_of_an_input(size, fixed):
    """A number is fixed, a name is open, and a scalar has none."""
    kind = f"float[{size}]" if size else "float"
    runner = session.load(build_model(f"({kind} x) => ({kind} y) {{ y = Neg(x) }}"), threads=1)
    assert runner.fixed_batch("x") == fixed


def test_keeping_computes_what_a_call_computes(rng, runner, feeds):
    """The same numbers to the last bit, those that stay and those that do not."""
    state = rng.normal(size=(3, 4)).astype("f")
    expected = runner({"state": state, **feeds})
    stay, arrays = runner.keeping({"state": kept(state)}, feeds, ["next"])
    assert list(stay) == ["next"]
    assert set(arrays) == {"total", "same"}
    np.testing.assert_array_equal(stay["next"].numpy(), expected["next"])
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, expected[name])


def test_state_goes_from_run_to_run(rng, runner, feeds):
    """Five steps, each from what the last one kept, are five steps in numpy (1e-6)."""
    state = rng.normal(size=(3, 4)).astype("f")
    values = {"state": kept(state)}
    for _ in range(5):
        stay, _ = runner.keeping(values, feeds, ["next"])
        values = {"state": stay["next"]}
    expected = state.astype(float) - 5 * 0.5 * feeds["slope"].astype(float)
    np.testing.assert_allclose(values["state"].numpy(), expected, atol=1e-6)


def test_later_runs_leave_earlier_results_alone(rng, runner, feeds):
    """Neither what was kept, nor what came back, nor the input changes with the next run."""
    value = kept(rng.normal(size=(3, 4)).astype("f"))
    begin = value.numpy().copy()
    first, arrays = runner.keeping({"state": value}, feeds, ["next", "same"])
    before = {name: v.numpy().copy() for name, v in first.items()}, arrays["total"].copy()
    for _ in range(3):
        runner.keeping({"state": first["next"]}, feeds, ["next", "same"])
    np.testing.assert_array_equal(value.numpy(), begin)
    np.testing.assert_array_equal(arrays["total"], before[1])
    for name, v in first.items():
        np.testing.assert_array_equal(v.numpy(), before[0][name])


@pytest.mark.parametrize("keep", [[], ["total"], ["next", "total", "same"]])
def test_any_of_the_outputs_may_stay(rng, runner, feeds, keep):
    """None, some or all; every output comes back once."""
    state = rng.normal(size=(2, 4)).astype("f")
    stay, arrays = runner.keeping({"state": kept(state)}, feeds, keep)
    assert list(stay) == keep
    assert set(arrays) == {"next", "total", "same"} - set(keep)


def test_several_threads_may_run_it_at_once(rng, runner, feeds):
    """Forty runs on four threads are those of one thread, in order."""
    states = [kept(rng.normal(size=(5, 4)).astype("f")) for _ in range(40)]

    def total(state):
        return runner.keeping({"state": state}, feeds, ["next"])[1]["total"]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(total, states))
    np.testing.assert_array_equal(together, [total(state) for state in states])


@pytest.mark.parametrize(
    "change", [{"slope": np.zeros(3, "f")}, {"slope": np.zeros(4)}, {"unknown": np.zeros(1, "f")}]
)
def test_failures_are_ours(rng, runner, feeds, change):
    """A wrong shape, type or name is an error of ours that says what was going on."""
    state = kept(rng.normal(size=(3, 4)).astype("f"))
    with pytest.raises(RuntimeFailure, match="failed while running the model"):
        runner.keeping({"state": state}, feeds | change, ["next"])


def test_profile_names_the_nodes(rng, feeds):
    """Every node has its time in seconds; a large product takes longer than a small one."""
    model = build_model(
        """(float[300,300] x, float[4,4] v) => (float[300,300] y, float[4,4] w) {
            y = MatMul(x, x)
            w = MatMul(v, v)
        }"""
    )
    inputs = {"x": rng.normal(size=(300, 300)).astype("f"), "v": np.eye(4, dtype="f")}
    taken = session.profile(model, inputs, runs=5, threads=1)
    assert {kernel.op_type for kernel in taken} == {"MatMul"}
    seconds = {kernel.name: kernel.seconds for kernel in taken}
    assert set(seconds) == {"make_y", "make_w"}
    assert 0 <= seconds["make_w"] < seconds["make_y"] < 10


def test_profile_of_a_wrong_input(feeds):
    """A run that fails is an error like any other, not a profile."""
    model = build_model("(float[4] x) => (float[4] y) { y = Neg(x) }")
    with pytest.raises(RuntimeFailure):
        session.profile(model, {"x": np.zeros(5, "f")})


def test_onnx_runtime_keeps_nothing_and_sends_nothing(tmp_path):
    """It is told not to, in zqc's own process and in those that it starts, unless the user did."""
    script = (
        "import os, sys; from pathlib import Path; from zqc.runtime import session; "
        "session.load(Path(sys.argv[1])); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    onnx.save(nets.detector(), tmp_path / "model.onnx")
    places = {name: str(tmp_path / "own") for name in ("TMPDIR", "XDG_CACHE_HOME", "HOME")}
    (tmp_path / "own").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | places
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "model.onnx"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert list((tmp_path / "own").iterdir()) == []
