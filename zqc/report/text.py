"""What a command ends with on the terminal or in a pipe: one fact a line, no tables to break.

Every function maps a result to text for ``rich``. Colours are styles, so they are gone where the
output is no terminal; nothing is said by colour alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zqc.commands.compile import CompileResult
    from zqc.commands.inspect import Inspection, NodeName, Tensor
    from zqc.commands.list_targets import TargetsResult
    from zqc.commands.stats import StatsResult
    from zqc.commands.synthesize import SynthesisResult
    from zqc.detection.agreement import PartAgreement
    from zqc.detection.verdict import Verdict
    from zqc.runtime.executed import LayerReport
    from zqc.statistics.input_choice import InputChoice

_STYLES = {"good": "bold green", "usable with care": "bold yellow", "broken": "bold red"}
_NAMES_SHOWN = 3
_CACHED = "; the pictures are from the cache"


def compiled(result: CompileResult) -> Text:
    """What ``zqc compile`` says: data, layers, size, latency, agreement, file."""
    lines = [
        *verdict_lines(result.verdict),
        input_line(result.input_choice),
        line("Calibration", result.calibration + _CACHED * result.cached),
        *(
            line("Warning", caution, "bold yellow")
            for caution in (result.caution, result.saturation)
            if caution
        ),
        line("Precision", f"{result.precision} for {result.target}{_first_last(result)}"),
        *([line("Bits by layer", _bits_by_layer(result))] if result.bits_chosen else []),
        *([line("Activations", _activation_bits(result))] if result.activation_bits else []),
        *([line("Weights", weights)] if (weights := _weights(result)) else []),
        *([line("Not equalized", _refused(result))] if result.refused else []),
        _kernels(result),
        *_stayed_float(result),
        line("Size", _size(result)),
        line("Latency", _latency(result)),
        *agreement_lines(result.agreement),
        *not_compared_lines(result.not_compared),
        line("Written", f"{result.output} in {_seconds(result.seconds)}", "bold"),
    ]
    return Text("\n").join(lines)


def verdict_lines(verdict: Verdict) -> list[Text]:
    """The verdict, and the command that helps most."""
    lines = [line("Verdict", f"{verdict.word}: {verdict.reason}", _STYLES.get(verdict.word, ""))]
    return lines + ([line("Next", verdict.advice, "bold")] if verdict.advice else [])


def targets_listed(result: TargetsResult) -> Text:
    """What ``zqc targets`` says: each target, what it is, and what holds of its files."""
    lines = []
    for target in result.targets:
        package = f" (from the package {target.package})" if target.package else ""
        lines.append(line(target.name, target.summary + package, "bold"))
        lines += [line("", sentence) for sentence in target.guarantees]
        lines += [line("", target.cost)] if target.cost else []
    return Text("\n").join(lines)


def synthesized(result: SynthesisResult) -> Text:
    """What ``zqc synthesize`` says: how many pictures, how well they match, where they are."""
    channels, height, width = result.shape
    matched = [line("Matched", "nothing: structured noise, made without statistics", "yellow")]
    if result.source:
        loss = f"{result.first_loss:.4g} → {result.last_loss:.4g}"
        matched = [line("Matched", result.source), line("Loss", loss)]
    return Text("\n").join(
        [
            input_line(result.input_choice),
            line("Pictures", f"{result.count} of {channels}x{height}x{width}"),
            *matched,
            *([] if result.labels is None else [line("Labels", str(result.labels))]),
            line("Written", f"{result.directory} in {_seconds(result.seconds)}", "bold"),
        ]
    )


def stopped(result: SynthesisResult) -> str:
    """What ``zqc synthesize`` says when it ended early: why, what there is, how to go on."""
    if result.checkpoint is None:
        return f"{result.stopped}. {result.directory} holds the pictures from before that"
    return (
        f"{result.stopped}; {result.directory} holds the pictures so far and a checkpoint. "
        "The same command with --resume goes on from there"
    )


def card_written(result: StatsResult) -> Text:
    """What ``zqc stats`` says: of how many pictures, how much it tells, where it is."""
    return Text("\n").join(
        [
            input_line(result.input_choice),
            line("Pictures", str(result.pictures)),
            line("Statistics", f"{result.channels:,} channels of {result.layers} layers"),
            line(
                "Written",
                f"{result.output}, {bytes_text(result.bytes_written)}, "
                f"in {_seconds(result.seconds)}",
                "bold",
            ),
        ]
    )


def inspected(result: Inspection) -> Text:
    """What ``zqc inspect`` says: interface, operators, layers, where post-processing begins."""
    begins = _names(result.post_processing_begins) or "nowhere"
    written_by = f", by {result.producer}" if result.producer else ""
    layers = Counter(layer.op_type for layer in result.layers)
    inner = [layer for layer in result.layers if layer.inside]
    where = "/".join(sorted({layer.inside for layer in inner}))
    inside = f"; {len(inner)} inside of {where}, which stay float" if inner else ""
    usable = result.statistics_state == "kept"
    opened = ""
    if result.open_size is not None:
        height, width = result.open_size
        opened = f"height and width; this is of {height}x{width}, --input-shape takes others"
    return Text("\n").join(
        [
            line("File", f"{result.path}, {bytes_text(result.bytes_on_disk)}{written_by}"),
            line("Format", f"opset {result.opset}, IR version {result.ir_version}"),
            *(line("Input", _tensor(value)) for value in result.inputs),
            *([line("Open size", opened)] if opened else []),
            *(line("Output", _tensor(value)) for value in result.outputs),
            line("Parameters", f"{result.parameters:,}"),
            line("Operators", _counts(result.operators)),
            line("Layers", f"{len(result.layers)} ({_counts(layers)}){inside}"),
            line(
                "BatchNorm",
                f"{result.batch_norms}: {result.statistics}",
                "" if usable else "yellow",
            ),
            line("Detector", result.detector),
            line("Post-processing", f"{result.post_processing} nodes, begins at {begins}"),
            *(line("Metadata", f"{key} = {value}") for key, value in result.metadata.items()),
            *(line("Layer", _layer(layer)) for layer in result.layers),
            line("Next", result.advice, "bold"),
        ]
    )


def _layer(layer: NodeName) -> str:
    """Its name, its operator and its weights; the names are what --keep-float matches."""
    sizes = "×".join(map(str, layer.shape))
    weights = f" {sizes}, {math.prod(layer.shape):,} weights" if layer.shape else ""
    inside = f", inside of {layer.inside}" if layer.inside else ""
    return f"{layer.name}: {layer.op_type}{weights}{inside}"


def input_line(choice: InputChoice) -> Text:
    """How pixels become input values, and who says so."""
    notes = {
        "given": "",
        "recipe": " (from the recipe in the quantized model)",
        "card": " (from the statistics card)",
        "stated": f" ({choice.flags})",
        "found": f" (found from the BatchNorm statistics; {choice.flags} says the same)",
        "assumed": " (assumed; --input-range, or --mean and --std, say otherwise)",
    }
    text = choice.name + notes[choice.origin]
    if not choice.order_known:
        text += "; RGB or BGR does not show, so check --bgr"
    return line("Input", text, "yellow" if choice.origin == "assumed" else "")


def _first_last(result: CompileResult) -> str:
    """Which bits the first and the last layers have, and which layers these are."""
    if not result.first_last:
        return ""
    bits = sorted({x.weight_bits for x in result.layers if x.name in set(result.first_last)})
    said = " and ".join("float" if b > 8 else f"{b} bits" for b in bits)
    return f"; first and last layers at {said}: {_names(result.first_last)}"


def _refused(result: CompileResult) -> str:
    """Layers whose channels could not be scaled, with why."""
    named = _names(f"{name} ({reason})" for name, reason in result.refused)
    return f"{len(result.refused)} of {len(result.layers)} layers: {named}"


def _bits_by_layer(result: CompileResult) -> str:
    """Which layers have how many bits, the most bits first; ``--json`` names all of them."""
    text = _by_bits((layer.name, layer.weight_bits) for layer in result.layers)
    if result.mixed_room:
        room = _percent(result.mixed_room)
        text += f"; the file is at most {room} larger than with --uniform-bits"
    return text


def _activation_bits(result: CompileResult) -> str:
    """Which activations have more or fewer bits than the others."""
    return (
        f"{_by_bits(result.activation_bits.items())}; {result.average_bits:.1f} bits on average, "
        f"at most {_percent(result.activation_room)} more than with --uniform-bits"
    )


def _by_bits(bits_of: Iterable[tuple[str, int]]) -> str:
    """Names by their bits, the most bits first."""
    names: dict[int, list[str]] = {}
    for name, bits in bits_of:
        names.setdefault(bits, []).append(name)
    return "; ".join(
        f"{'float' if bits > 8 else bits} in {len(of)} ({_names(of)})"
        for bits, of in sorted(names.items(), reverse=True)
    )


def _percent(share: float) -> str:
    """A share that somebody asked for, as exact as that was."""
    return f"{100 * share:.3g}%"


def _weights(result: CompileResult) -> str:
    """What levels they have, and what learning was worth; empty where neither is to be said."""
    count = sum(fact.log_affine for fact in result.facts)
    levels = f"in {count} of {len(result.layers)} layers on levels that are closer near zero"
    return "; ".join(filter(None, [levels if count else "", _learned(result)]))


def _learned(result: CompileResult) -> str:
    """What learning was worth; empty where nothing was learned."""
    if result.learned is None:
        return ""
    if result.learned >= 1:
        return "as rounded: learning has found none better"
    what = "learned" if result.weights_learned else "biases learned"
    return f"{what}; the error on pictures held out fell to {result.learned:.0%}"


def _kernels(result: CompileResult) -> Text:
    """How many layers are on integer kernels, where this machine can know it."""
    total = len(result.layers)
    if result.kernels == "elsewhere":
        count = result.integer_layers
        text = f"{count}/{total}; loaded and compared here, the target's kernels are elsewhere"
        return line("Quantized layers", text, "green" if count == total else "yellow")
    rules = ", by the rules of ONNX Runtime for ARM" if result.kernels == "arm" else ""
    style = "green" if result.integer_layers == total else "yellow"
    return line("Integer kernels", f"{result.integer_layers}/{total} layers{rules}", style)


def _stayed_float(result: CompileResult) -> list[Text]:
    """A line for each reason, with the number of nodes and the names of the first ones."""
    reasons: dict[str, list[LayerReport]] = {}
    for layer in result.layers:
        if not layer.integer:
            reasons.setdefault(layer.reason, []).append(layer)
    said = [
        f"{_counts(Counter(layer.op_type for layer in layers))}: {reason} "
        f"({_names([layer.name for layer in layers])})"
        for reason, layers in reasons.items()
    ]
    said += [
        f"{len(found.names)} {found.op_type}: {found.reason} ({_names(found.names)})"
        for found in result.float_operators
    ]
    if result.post_processing:
        said.append(f"post-processing, which begins at {_names(result.post_processing)}")
    return [line("Stays float", text) for text in said]


def agreement_lines(parts: Sequence[PartAgreement]) -> list[Text]:
    """A line for each part of the outputs, and for what must not be overlooked."""
    lines = []
    for part in parts:
        if part.not_compared:
            lines.append(line("Not compared", f"{part.part}: {part.not_compared}", "yellow"))
            continue
        if not math.isnan(part.equal):
            lines.append(line("Agreement", f"{part.part}: {percent_text(part.equal)} equal"))
            continue
        text = (
            f"{part.part}: SQNR {decibels_text(part.sqnr_db)}, correlation {part.correlation:.4f}"
        )
        if part.kind == "scores":
            text += f", {part.distinct:,} distinct values (float {part.distinct_float:,})"
        lines.append(line("Agreement", text))
    return lines


def not_compared_lines(outputs: Iterable[tuple[str, str]]) -> list[Text]:
    """A line for each reason why outputs were left as they are."""
    reasons: dict[str, list[str]] = {}
    for name, reason in outputs:
        reasons.setdefault(reason, []).append(name)
    return [line("Not compared", f"{_names(names)}: {reason}") for reason, names in reasons.items()]


def _size(result: CompileResult) -> str:
    share = result.bytes_after / result.bytes_before
    before, after = bytes_text(result.bytes_before), bytes_text(result.bytes_after)
    return f"{before} → {after} ({share:.3f} of the float model)"


def _latency(result: CompileResult) -> str:
    before, after = result.latency_before_ms, result.latency_after_ms
    if math.isnan(after):
        return "not measured: the target's kernels are not on this machine"
    return (
        f"{milliseconds_text(before)} → {milliseconds_text(after)} "
        f"({before / after:.2f} times as fast); "
        "one picture, one thread"
    )


def _counts(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _names(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = len(names) - _NAMES_SHOWN
    shown = names if more <= 1 else [*names[:_NAMES_SHOWN], f"{more} more"]
    return ", ".join(shown)


def _tensor(tensor: Tensor) -> str:
    shape = "unknown shape" if tensor.shape is None else "×".join(map(str, tensor.shape))
    note = f" ({tensor.note})" if tensor.note else ""
    return f"{tensor.name}: {tensor.dtype} {shape}{note}"


def _seconds(value: float) -> str:
    minutes, seconds = divmod(round(value), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{value:.1f} s"


def decibels_text(value: float) -> str:
    """An SQNR."""
    return "∞ dB" if value == math.inf else f"{value:.1f} dB"


def percent_text(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f} %"


_LABEL_WIDTH = 17


def line(label: str, value: str, style: str = "") -> Text:
    """A label in bold, and what is said of it, on one line."""
    said = "; ".join(value.splitlines())  # metadata of a model can be a whole file
    return Text.assemble((f"{label:<{_LABEL_WIDTH - 1}} ", "bold"), (said, style))


def hanging(text: Text, width: int) -> Text:
    """Wrap the lines of a summary at spaces, and what goes on stays to the right of the labels.

    A word that is longer than a line, such as the path of a file, stays whole.
    """
    indent = Text(" " * _LABEL_WIDTH)
    lines: list[Text] = []
    for each in text.split("\n", allow_blank=True):
        first, *others = each.divide(_breaks(each.plain, width))
        lines += [first, *(indent + other for other in others)]
    for each in lines:
        each.rstrip()
    return Text("\n").join(lines)


def _breaks(said: str, width: int) -> list[int]:
    """Where a line with a label is broken: before the words that find no room."""
    breaks: list[int] = []
    begin = 0  # of what is in the same line, its indent included
    for word in re.finditer(r"\S+", said[_LABEL_WIDTH:]):
        first, last = (_LABEL_WIDTH + place for place in word.span())
        if last - begin > width and first > (breaks[-1] if breaks else _LABEL_WIDTH):
            breaks.append(first)
            begin = first - _LABEL_WIDTH
    return breaks


def bytes_text(count: float) -> str:
    """A number of bytes in units that people read."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def milliseconds_text(time: float) -> str:
    """A time in milliseconds with three digits; a long one whole rather than as a power of ten."""
    return f"{time:,.0f} ms" if time >= 999.5 else f"{time:.3g} ms"
