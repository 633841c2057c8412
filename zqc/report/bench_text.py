"""What ``zqc bench`` ends with: facts about both models, then the profile of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from zqc.report.text import bytes_text, line, milliseconds_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zqc.benchmark.results import (
        BenchResult,
        Kernel,
        Kind,
        Machine,
        ModelBench,
        Operators,
        Spread,
        Throughput,
    )

_SHOWN_SHARE = 0.005  # operators below half a percent are added up
_BUSY = 1.2  # a single thread on a core of its own is at work all the time
_CPU = "CPUExecutionProvider"
_KINDS: dict[Kind, str] = {
    "integer": "integer kernels",
    "float": "float operators",
    "conversion": "quantize/dequantize",
    "layout": "layout moves",
}
_STYLES: dict[Kind, str] = {"integer": "green", "float": "yellow"}


def benched(result: BenchResult, *, top: int = 0) -> Text:
    """What ``zqc bench`` says.

    Args:
        result: What was measured.
        top: How many of the slowest kernels of each model to name.
    """
    first, second = result.float_model, result.quantized
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    lines = [
        line("Machine", _machine(result.machine)),
        line("Measured", f"{result.runs} runs each in turn, {threads}, {result.provider}"),
        line("Input", f"{'; '.join(result.inputs)}, {result.data}"),
        line("Latency", _latency(first, second, result.speedup), "bold"),
        *_processor_time(result),
        line("Size", _change(first.bytes_on_disk, second.bytes_on_disk)),
        line("Peak memory", _memory(first.peak_memory, second.peak_memory)),
        line(
            "Integer layers",
            f"{first.integer_layers}/{first.layers} → {second.integer_layers}/{second.layers}",
        ),
    ]
    if result.peak is not None:
        product = " × ".join(map(str, result.peak.shape))
        text = f"{result.peak.gops:,.0f} GOP/s (10⁹ operations a second; uint8 by int8, {product})"
        lines.append(line("Integer peak", text))
    for model in (first, second):
        lines += _profile(model, result.provider, top)
    return Text("\n").join(lines)


def _machine(machine: Machine) -> str:
    vnni = {True: "VNNI", False: "no VNNI", None: "VNNI unknown"}[machine.vnni]
    return f"{machine.cpu or 'unknown processor'}, {vnni}; ONNX Runtime {machine.onnxruntime}"


def _latency(first: ModelBench, second: ModelBench, speedup: Spread) -> str:
    return (
        f"{_ms(first.latency_ms)} → {_ms(second.latency_ms)}: {speedup.median:.2f} times as fast "
        f"({speedup.low:.2f}…{speedup.high:.2f})"
    )


def _processor_time(result: BenchResult) -> list[Text]:
    """How long the threads worked, and a warning where latency speaks of the machine instead."""
    models = (result.float_model, result.quantized)
    before, after = (model.processor_ms.median for model in models)
    ratio = before / max(after, 1e-9)
    text = f"{milliseconds_text(before)} → {milliseconds_text(after)} (a ratio of {ratio:.2f})"
    lines = [line("Processor time", text)]
    waited = any(model.latency_ms.median > _BUSY * model.processor_ms.median for model in models)
    if waited and result.threads == 1 and result.provider == _CPU:
        text = "this machine does other work: processor time says more than latency"
        lines.append(line("Warning", text, "bold yellow"))
    return lines


def _ms(spread: Spread) -> str:
    """Median and middle half."""
    low, high = (milliseconds_text(end).removesuffix(" ms") for end in (spread.low, spread.high))
    return f"{milliseconds_text(spread.median)} ({low}…{high})"


def _change(before: int, after: int) -> str:
    return f"{bytes_text(before)} → {bytes_text(after)} ({after / before:.3f} of the first)"


def _memory(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "unknown on this system"
    return f"{bytes_text(before)} → {bytes_text(after)} beyond an idle ONNX Runtime"


def _profile(model: ModelBench, provider: str, top: int) -> list[Text]:
    """Where the time of one model goes."""
    said = ", ".join(f"{_percent(model.shares[kind])} in {_KINDS[kind]}" for kind in _KINDS)
    lines = [
        Text(),
        line("Model", str(model.path), "bold"),
        line("Kernels", f"{len(model.kernels)} in {milliseconds_text(model.kernels_ms)}: {said}"),
    ]
    if model.elsewhere:
        text = f"{_percent(model.elsewhere)} of the time is not on {provider}"
        lines.append(line("Elsewhere", text, "yellow"))
    for label, rate in (("Integer speed", model.dense), ("Grouped convs", model.grouped)):
        if rate is not None:
            lines.append(line(label, _throughput(rate)))
    lines += _labelled("Operators", _operators(model.operators))
    return lines + _labelled("Slowest", [_kernel(kernel) for kernel in model.kernels[:top]])


def _labelled(label: str, values: Sequence[tuple[str, str]]) -> list[Text]:
    """A line for each value and its style; only the first line has the label."""
    return [line("" if index else label, text, style) for index, (text, style) in enumerate(values)]


def _throughput(rate: Throughput) -> str:
    layers = "1 layer" if rate.layers == 1 else f"{rate.layers} layers"
    return f"{rate.gops:,.0f} GOP/s in {layers}, {_percent(rate.of_peak)} of the peak"


def _operators(operators: Sequence[Operators]) -> list[tuple[str, str]]:
    shown = [each for each in operators if each.share >= _SHOWN_SHARE]
    rest = [each for each in operators if each.share < _SHOWN_SHARE]
    rows = [
        (_row(each.op_type, each.count, each.ms, each.share) + _KINDS[each.kind], each.kind)
        for each in shown
    ]
    values = [(text, _STYLES.get(kind, "")) for text, kind in rows]
    if rest:
        count, ms, share = (
            sum(each.count for each in rest),
            sum(each.ms for each in rest),
            sum(each.share for each in rest),
        )
        values.append((_row("others", count, ms, share).rstrip(), ""))
    return values


def _row(name: str, count: int, ms: float, share: float) -> str:
    """A row that fits 80 columns, with its label and the longest kind of kernel."""
    return f"{name:<18} {count:>4} {ms:>7.3f} ms {_percent(share):>6}  "


def _kernel(kernel: Kernel) -> tuple[str, str]:
    text = f"{kernel.ms:.3f} ms, {_percent(kernel.share)}: {kernel.op_type} {kernel.name}"
    if kernel.gops is not None and kernel.of_peak is not None:
        text += f", {kernel.gops:,.0f} GOP/s ({_percent(kernel.of_peak)} of the peak)"
    return text, _STYLES.get(kernel.kind, "")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
