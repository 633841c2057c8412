"""What ``zqc.bench`` found out, as typed values that serialise with ``dataclasses.asdict``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zqc.report.printing import Printable

Kind = Literal["integer", "float", "conversion", "layout"]
"""What a kernel does: compute on integers, compute in float, quantize or dequantize, move data."""


@dataclass(frozen=True)
class Machine:
    """What the numbers hold for.

    Attributes:
        cpu: Name of the processor; empty where it is unknown.
        vnni: Whether it has VNNI; None where that is unknown.
        onnxruntime: Version of ONNX Runtime.
    """

    cpu: str
    vnni: bool | None
    onnxruntime: str


@dataclass(frozen=True)
class IntegerPeak:
    """The fastest integer matrix product of this machine, as ONNX Runtime computes it.

    Attributes:
        gops: Giga-operations per second; a multiplication and an addition are two operations.
        shape: Rows, depth and columns of that product.
    """

    gops: float
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Spread:
    """A measured quantity.

    Attributes:
        median: The median.
        low: The first quartile.
        high: The third quartile.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Operators:
    """All kernels of one operator and kind together.

    Attributes:
        op_type: The operator, as it is after ONNX Runtime's fusion.
        kind: What its kernels do.
        count: How many there are.
        ms: Milliseconds of the fastest run of each, together.
        share: Of the time of all kernels, in 0…1.
    """

    op_type: str
    kind: Kind
    count: int
    ms: float
    share: float


@dataclass(frozen=True)
class Kernel:
    """One kernel.

    Attributes:
        name: Name of its node.
        op_type: Its operator.
        kind: What it does.
        ms: Milliseconds of its fastest run.
        share: Of the time of all kernels, in 0…1.
        gops: Giga-operations per second of a layer on an integer kernel; None of others.
        of_peak: The same as a share of the machine's integer peak.
    """

    name: str
    op_type: str
    kind: Kind
    ms: float
    share: float
    gops: float | None = None
    of_peak: float | None = None


@dataclass(frozen=True)
class Throughput:
    """How fast the layers on integer kernels compute.

    Attributes:
        layers: Number of layers.
        gops: Their operations together by their time together, in giga-operations per second.
        of_peak: The same as a share of the machine's integer peak.
    """

    layers: int
    gops: float
    of_peak: float


@dataclass(frozen=True)
class ModelBench:
    """What was measured of one model.

    Attributes:
        path: The file.
        bytes_on_disk: Its size, external data included.
        latency_ms: Milliseconds from the call to the answer.
        processor_ms: Milliseconds that all threads were at work together, which is hardly more on a
            machine that does other work, too.
        peak_memory: Bytes by which running it makes an idle interpreter grow that has ONNX Runtime
            loaded; None where the system does not tell.
        layers: Weighted layers (Conv, ConvTranspose, Gemm, MatMul) that run.
        integer_layers: Those of them on integer kernels.
        kernels_ms: Milliseconds of all kernels together, the fastest run of each.
        shares: Share of that time by what kernels do, in 0…1.
        elsewhere: Share of that time in kernels that do not run on the provider asked for.
        operators: By operator and kind, the longest first.
        kernels: All kernels, the longest first.
        dense: Throughput of the integer layers without those in ``grouped``; None without any.
        grouped: Throughput of grouped and depthwise integer convolutions, which have few
            multiplications for the data they read; None without any.
    """

    path: Path
    bytes_on_disk: int
    latency_ms: Spread
    processor_ms: Spread
    peak_memory: int | None
    layers: int
    integer_layers: int
    kernels_ms: float
    shares: dict[Kind, float]
    elsewhere: float
    operators: tuple[Operators, ...]
    kernels: tuple[Kernel, ...]
    dense: Throughput | None
    grouped: Throughput | None


@dataclass(frozen=True)
class BenchResult(Printable):
    """The outcome of ``zqc.bench``.

    Attributes:
        machine: What the numbers hold for.
        provider: The execution provider, as ONNX Runtime calls it.
        threads: Threads inside an operator.
        runs: Runs of each model that the latencies are medians of.
        inputs: The inputs, each with its type and shape.
        data: What they were filled with, in words.
        peak: The machine's integer peak with so many threads; None when no model has integer layers
            or they run on another provider than the CPU.
        float_model: The first model.
        quantized: The second one.
        speedup: Latency of the first model by that of the second; the median is the ratio of both
            medians, the quartiles are those of the rounds.
    """

    text_by = ("zqc.report.bench_text", "benched")

    machine: Machine
    provider: str
    threads: int
    runs: int
    inputs: tuple[str, ...]
    data: str
    peak: IntegerPeak | None
    float_model: ModelBench
    quantized: ModelBench
    speedup: Spread
