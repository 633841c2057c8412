"""The only place where ONNX Runtime sessions are made."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

from zqc.errors import RuntimeFailure
from zqc.files.scratch import scratch_folder
from zqc.runtime import extras
from zqc.runtime.kernel_times import KernelTime, kernel_times

# From 1.32 on it keeps a database among the user's files, and sends events, unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
try:
    import onnxruntime as ort
    from onnxruntime import OrtValue  # a folder that an uninstall left behind has none
    from onnxruntime.capi import onnxruntime_pybind11_state as state
except ImportError as error:
    raise extras.missing(extras.RUNTIME, "running models", error) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

CPU = "CPUExecutionProvider"

_NOISE = re.compile(
    r"(/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) (\[with [^\]]*\] )?)?"
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |"
    r"/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\) (\[with [^\]]*\] )?"
)
"""Codes, and functions of its source, in the messages of ONNX Runtime."""

_FATAL_ONLY = 4  # ONNX Runtime's log severity: warnings of its optimizer are not for users


DeviceArray: TypeAlias = OrtValue
"""An array where ONNX Runtime keeps it, so that it can go from run to run without a copy."""


def to_device(array: NDArray[np.generic]) -> DeviceArray:
    """Hand an array over to ONNX Runtime."""
    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


@dataclass(frozen=True)
class Runner:
    """A loaded model that maps named arrays to named arrays."""

    session: ort.InferenceSession
    outputs: tuple[str, ...]

    def __call__(
        self, feeds: Mapping[str, NDArray[np.generic]], *, seconds: float | None = None
    ) -> dict[str, NDArray[np.generic]]:
        """Run the model once.

        Args:
            feeds: The inputs by name.
            seconds: After these the run is broken off; by default it may take as long as it does.

        Raises:
            RuntimeFailure: ONNX Runtime failed, for example out of memory.
        """
        options = ort.RunOptions()
        timer = Timer(seconds or 0, setattr, (options, "terminate", True))
        if seconds is not None:
            timer.start()
        try:
            values = self.session.run(list(self.outputs), dict(feeds), options)
        except Exception as error:  # ONNX Runtime raises several unrelated pybind exceptions
            raise RuntimeFailure(
                f"ONNX Runtime failed while running the model: {_said(error)}"
            ) from error
        finally:
            timer.cancel()
        return dict(zip(self.outputs, values, strict=True))

    def fixed_batch(self, name: str) -> int | None:
        """How many values an input takes at once; None where it leaves that open."""
        shapes = {value.name: value.shape for value in self.session.get_inputs()}
        return shapes[name][0] if shapes[name] and isinstance(shapes[name][0], int) else None

    def keeping(
        self,
        kept: Mapping[str, DeviceArray],
        feeds: Mapping[str, NDArray[np.generic]],
        keep: Sequence[str],
    ) -> tuple[dict[str, DeviceArray], dict[str, NDArray[np.generic]]]:
        """Run the model once on inputs that stay where they are computed (IO binding).

        Args:
            kept: Inputs that earlier runs left on the device.
            feeds: Inputs from the host.
            keep: Outputs that stay on the device.

        Returns:
            The outputs that stay, and all others as arrays.

        Raises:
            RuntimeFailure: ONNX Runtime failed, for example out of memory.
        """
        try:
            binding = self.session.io_binding()
            for name, value in kept.items():
                binding.bind_ortvalue_input(name, value)
            for name, array in feeds.items():
                binding.bind_cpu_input(name, array)
            for name in self.outputs:
                binding.bind_output(name, "cpu")
            self.session.run_with_iobinding(binding)
            values = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        except Exception as error:  # as above
            raise RuntimeFailure(
                f"ONNX Runtime failed while running the model: {_said(error)}"
            ) from error
        return {name: values[name] for name in keep}, {
            name: value.numpy() for name, value in values.items() if name not in keep
        }


def load(
    model: ir.Model | bytes | Path,
    *,
    outputs: Sequence[str] | None = None,
    threads: int | None = None,
    optimize: bool = True,
    provider: str = CPU,
) -> Runner:
    """Load a model.

    Args:
        model: An IR model, serialized bytes, or a file (needed for external data).
        outputs: Names of the outputs to compute; all of them by default.
        threads: Threads inside an operator; all cores by default.
        optimize: Whether ONNX Runtime may fuse. Without it every node runs as it is written.
        provider: One of ``providers()``; what it cannot run, the CPU does.

    Raises:
        RuntimeFailure: ONNX Runtime refuses the model, or the provider does not work here.
    """
    level = ort.GraphOptimizationLevel
    options = _options(level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL, threads)
    session = _session(_source(model), options, provider)
    names = tuple(outputs) if outputs is not None else tuple(o.name for o in session.get_outputs())
    return Runner(session, names)


def executed_graph(model: ir.Model | bytes | Path, *, arm: bool = False) -> ir.Model:
    """Return the graph that ONNX Runtime makes of a model: which kernels really run.

    Fused layers keep the name of the Conv, Gemm or MatMul that they came from. The last level of
    optimisation only changes memory layouts (and drops names), so it is left out.

    Args:
        model: See ``load``.
        arm: Whether INT8 activations fuse by the rules that hold on ARM.

    Raises:
        RuntimeFailure: ONNX Runtime refuses the model.
    """
    options = _options(ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    if arm:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    with scratch_folder() as folder:
        written = folder / "executed.onnx"
        options.optimized_model_filepath = str(written)
        _session(_source(model), options)
        return ir.from_proto(onnx.load(str(written)))


def profile(
    model: ir.Model | bytes | Path,
    feeds: Mapping[str, NDArray[np.generic]],
    *,
    runs: int = 20,
    threads: int | None = None,
    provider: str = CPU,
) -> tuple[KernelTime, ...]:
    """Measure how long each node of what ONNX Runtime makes of a model takes.

    Args:
        model: See ``load``.
        feeds: The inputs of every run.
        runs: Runs to take the median of, after one that is not counted.
        threads: See ``load``.
        provider: See ``load``.

    Raises:
        RuntimeFailure: ONNX Runtime refuses the model or failed while running it.
    """
    options = _options(ort.GraphOptimizationLevel.ORT_ENABLE_ALL, threads)
    options.enable_profiling = True
    with scratch_folder() as folder:
        options.profile_file_prefix = str(folder / "profile")
        executed = folder / "executed.onnx"
        if provider == CPU:  # nodes that other providers have compiled cannot be written
            options.optimized_model_filepath = str(executed)
        session = _session(_source(model), options, provider)
        runner = Runner(session, tuple(output.name for output in session.get_outputs()))
        for _ in range(runs + 1):
            runner(feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
        graph = onnx.load(str(executed)).graph if executed.exists() else None
    return kernel_times(events, runs + 1, graph)


def providers() -> tuple[str, ...]:
    """The execution providers of the installed ONNX Runtime, as it calls them."""
    return tuple(ort.get_available_providers())


@cache
def operators() -> frozenset[tuple[str, str]]:
    """The operators of the installed ONNX Runtime, by domain and type; empty where it won't say."""
    try:
        return frozenset((each.domain, each.name) for each in state.get_all_operator_schema())
    except AttributeError:  # no part of its interface: another version may have none
        return frozenset()


def version() -> str:
    """The version of the installed ONNX Runtime."""
    return str(ort.__version__)


def _options(level: ort.GraphOptimizationLevel, threads: int | None = None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = level
    # Threads that spin while they wait halve the speed of a machine that does other work, too.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # One block for all activations is given back after every run, and its pages fault in again.
    options.enable_mem_pattern = False
    return options


def _session(
    source: str | bytes, options: ort.SessionOptions, provider: str = CPU
) -> ort.InferenceSession:
    wanted = list(dict.fromkeys((provider, CPU)))
    try:
        session = ort.InferenceSession(source, options, providers=wanted)
    except Exception as error:  # ONNX Runtime raises several unrelated pybind exceptions
        raise RuntimeFailure(f"ONNX Runtime cannot load the model: {_said(error)}") from error
    if provider not in session.get_providers():  # it only logs what a provider lacks
        raise RuntimeFailure(
            f"{provider} does not work on this machine: its libraries or its device are missing"
        )
    return session


def _said(error: Exception) -> str:
    """The message of ONNX Runtime in one line, without the places in its source."""
    line = _NOISE.sub("", " ".join(str(error).split()))
    return f"{line[:297]}…" if len(line) > 300 else line


def _source(model: ir.Model | bytes | Path) -> str | bytes:
    if isinstance(model, Path):
        return str(model)
    return model if isinstance(model, bytes) else ir.to_proto(model).SerializeToString()
