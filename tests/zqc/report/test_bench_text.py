"""What ``zqc bench`` prints."""

from dataclasses import replace
from pathlib import Path

import pytest

from zqc.benchmark.results import (
    BenchResult,
    IntegerPeak,
    Kernel,
    Machine,
    ModelBench,
    Operators,
    Spread,
    Throughput,
)
from zqc.report.bench_text import benched

FLOAT = ModelBench(
    path=Path("f.onnx"),
    bytes_on_disk=4_000_000,
    latency_ms=Spread(30.0, 29.0, 31.0),
    processor_ms=Spread(29.5, 29.0, 30.0),
    peak_memory=60_000_000,
    layers=2,
    integer_layers=0,
    kernels_ms=20.0,
    shares={"integer": 0.0, "float": 0.95, "conversion": 0.0, "layout": 0.05},
    elsewhere=0.0,
    operators=(
        Operators("Conv", "float", 2, 19.0, 0.95),
        Operators("Transpose", "layout", 1, 0.96, 0.048),
        Operators("Reshape", "layout", 3, 0.04, 0.002),
    ),
    kernels=(Kernel("/stem", "Conv", "float", 12.0, 0.6), Kernel("/b", "Conv", "float", 7.0, 0.35)),
    dense=None,
    grouped=None,
)
QUANTIZED = replace(
    FLOAT,
    path=Path("q.onnx"),
    bytes_on_disk=1_000_000,
    latency_ms=Spread(12.0, 11.0, 13.0),
    processor_ms=Spread(11.8, 11.0, 12.0),
    peak_memory=30_000_000,
    integer_layers=2,
    kernels=(Kernel("/stem", "QLinearConv", "integer", 9.0, 0.9, 120.0, 0.1),),
    dense=Throughput(1, 120.0, 0.1),
    grouped=Throughput(3, 12.0, 0.01),
)
RESULT = BenchResult(
    machine=Machine("Some Processor", True, "1.31.1"),
    provider="CPUExecutionProvider",
    threads=1,
    runs=50,
    inputs=("x: float 1×3×8×8",),
    data="random in 0:1",
    peak=IntegerPeak(1200.0, (512, 512, 512)),
    float_model=FLOAT,
    quantized=QUANTIZED,
    speedup=Spread(2.5, 2.4, 2.6),
)


def lines(result, **options):
    """Each line by its label; of several with the same one the last."""
    said = benched(result, **options).plain.splitlines()
    return {text[:17].strip(): text[17:] for text in said}


def test_what_is_said():
    """Machine, latency, sizes, memory, layers and the peak, each with its unit."""
    found = lines(RESULT)
    assert found["Machine"] == "Some Processor, VNNI; ONNX Runtime 1.31.1"
    assert found["Measured"] == "50 runs each in turn, 1 thread, CPUExecutionProvider"
    assert found["Input"] == "x: float 1×3×8×8, random in 0:1"
    assert found["Latency"] == ("30 ms (29…31) → 12 ms (11…13): 2.50 times as fast (2.40…2.60)")
    assert found["Processor time"] == "29.5 ms → 11.8 ms (a ratio of 2.50)"
    assert found["Size"] == "4.00 MB → 1.00 MB (0.250 of the first)"
    assert found["Peak memory"] == "60.00 MB → 30.00 MB beyond an idle ONNX Runtime"
    assert found["Integer layers"] == "0/2 → 2/2"
    assert found["Integer peak"].startswith("1,200 GOP/s")
    assert found["Integer speed"] == "120 GOP/s in 1 layer, 10.0 % of the peak"
    assert found["Grouped convs"] == "12 GOP/s in 3 layers, 1.0 % of the peak"
    assert "Warning" not in found
    assert "Slowest" not in found
    assert "Elsewhere" not in found


def test_profile():
    """Kinds of kernels are told apart; small operators are added up."""
    text = benched(RESULT).plain
    assert "95.0 % in float operators, 0.0 % in quantize/dequantize, 5.0 % in layout moves" in text
    rows = [row.split() for row in text.splitlines()]
    assert ["Operators", "Conv", "2", "19.000", "ms", "95.0", "%", "float", "operators"] in rows
    assert ["others", "3", "0.040", "ms", "0.2", "%"] in rows
    assert not any("Reshape" in row for row in rows)


def test_slowest_kernels():
    """As many as asked for, by name, with the speed where it is known."""
    text = benched(RESULT, top=1).plain
    assert "12.000 ms, 60.0 %: Conv /stem\n" in text
    assert text.endswith("9.000 ms, 90.0 %: QLinearConv /stem, 120 GOP/s (10.0 % of the peak)")
    assert "/b" not in text


@pytest.mark.parametrize(
    ("change", "warned"),
    [
        ({}, True),
        ({"threads": 2}, False),  # threads wait for each other
        ({"provider": "CUDAExecutionProvider"}, False),  # the processor waits for the device
    ],
)
def test_a_busy_machine(change, warned):
    """One thread that is not at work all the time has lost its core to others."""
    busy = replace(RESULT, float_model=replace(FLOAT, processor_ms=Spread(20.0, 19.0, 21.0)))
    assert ("Warning" in lines(replace(busy, **change))) == warned


def test_what_is_not_known():
    """No name, no VNNI, no memory, no peak; and kernels on another provider."""
    unknown = replace(
        RESULT,
        machine=Machine("", None, "1.31.1"),
        peak=None,
        threads=2,
        quantized=replace(QUANTIZED, peak_memory=None, elsewhere=0.25),
    )
    found = lines(unknown)
    assert found["Machine"] == "unknown processor, VNNI unknown; ONNX Runtime 1.31.1"
    assert found["Peak memory"] == "unknown on this system"
    assert found["Elsewhere"] == "25.0 % of the time is not on CPUExecutionProvider"
    assert "Integer peak" not in found


def test_rows_fit_80_columns():
    """The table of operators is no wider than 80 columns with long names and slow kernels."""
    operators = (Operators("DequantizeLinear", "conversion", 1234, 999.999, 1.0),)
    text = benched(replace(RESULT, float_model=replace(FLOAT, operators=operators))).plain
    (row,) = [row for row in text.splitlines() if "1234" in row]
    assert len(row) <= 80
    assert row.endswith("quantize/dequantize")
