"""What ``zqc check`` says, on a terminal and in a pull request."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rich.text import Text

from zqc.report.text import (
    agreement_lines,
    bytes_text,
    decibels_text,
    input_line,
    line,
    not_compared_lines,
    percent_text,
    verdict_lines,
)

if TYPE_CHECKING:
    from zqc.commands.check_result import CheckResult
    from zqc.commands.limits import Limit
    from zqc.detection.average_precision import Accuracy
    from zqc.detection.pairing import ClassPairing, Pairing

_CLASSES_SHOWN = 5
_PICTURES_SHOWN = 3


def checked(result: CheckResult) -> Text:
    """The verdict first; then what it rests on."""
    fit = f"; other sizes: {result.fit}" if result.fit else ""
    lines = [
        *verdict_lines(result.verdict),
        input_line(result.input_choice).append(fit),
        line("Pictures", result.pictures),
        line("Detector", result.detector),
        *_accuracy_lines(result),
        *_detection_lines(result),
        *agreement_lines(result.parts),
        *not_compared_lines(result.not_compared),
        line("Size", _sizes(result)),
        *(line("Note", note, "yellow") for note in result.notes),
        *map(_limit, result.limits),
    ]
    return Text("\n").join(lines)


def markdown(result: CheckResult, *, title: str) -> str:
    """A summary for a pull request."""
    mark = {"good": "✅", "usable with care": "⚠️", "broken": "❌"}.get(result.verdict.word, "❔")
    rows = [("Pictures", result.pictures), ("Detector", result.detector)]
    first, second, spread = result.accuracy_float, result.accuracy_quantized, result.difference
    if first is not None and second is not None:
        rows += [
            (name, f"{_percent(getattr(first, at))} → {_percent(getattr(second, at))}")
            for name, at in (("mAP", "ap"), ("AP50", "ap50"), ("AP75", "ap75"))
        ]
    if spread is not None:
        rows.append(("Difference of mAP", _difference(result)))
    if result.agreement is not None:
        rows.append(("Agreement of detections (AP)", percent_text(result.agreement.ap)))
    if result.pairing is not None:
        rows.append(("Boxes", _counts(result.pairing)))
    rows += [
        (f"SQNR of {part.part}", decibels_text(part.sqnr_db))
        for part in result.parts
        if not part.not_compared and not math.isnan(part.sqnr_db)
    ]
    rows.append(("Size", _sizes(result)))
    rows += [(f"{limit.option} {limit.limit:g}", _met(limit)) for limit in result.limits]
    table = "\n".join(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)
    parts = [
        f"### {mark} {_cell(title)}: {result.verdict.word}",
        f"{_cell(result.verdict.reason)}.",
        *([f"Next: {_code(result.verdict.advice)}"] if result.verdict.advice else []),
        f"| | |\n|---|---|\n{table}",
    ]
    if first is not None and second is not None and first.classes:
        parts.append(_class_table(first, second))
    if result.notes:
        parts.append("\n".join(f"- {_cell(note)}" for note in result.notes))
    return "\n\n".join(parts) + "\n"


def _accuracy_lines(result: CheckResult) -> list[Text]:
    first, second = result.accuracy_float, result.accuracy_quantized
    if first is None or second is None:
        return []
    lines = [
        line("Float model", _accuracy(first)),
        line("Quantized model", _accuracy(second)),
        line("Difference", _difference(result)),
    ]
    losses = sorted(
        (
            (one.name, one.ap, other.ap)
            for one, other in zip(first.classes, second.classes, strict=True)
            if one.ap > other.ap
        ),
        key=lambda row: row[2] - row[1],
    )
    if len(first.classes) > 1 and losses:
        said = (
            f"{name} {100 * one:.1f} → {100 * other:.1f}"
            for name, one, other in losses[:_CLASSES_SHOWN]
        )
        lines.append(line("Most lost", ", ".join(said)))
    return lines


def _detection_lines(result: CheckResult) -> list[Text]:
    if result.pairing is None:
        return []
    if result.pairing.counts.float_boxes == 0:
        said = "the float model finds nothing in these pictures; is the input line above right?"
        return [line("Detections", f"not compared: {said}", "yellow")]
    lines = []
    if result.agreement is not None:
        text = _accuracy(result.agreement) + " against those of the float model"
        lines.append(line("Detections", text))
    lines.append(line("Boxes", _counts(result.pairing)))
    lines.append(line("Scores", _scores(result.pairing)))
    unlike = sorted(
        (one for one in result.pairing.classes if one.counts.lost + one.counts.new),
        key=lambda one: (one.counts.f1, one.label),
    )
    if len(result.pairing.classes) > 1 and unlike:
        lines.append(line("Least alike", ", ".join(_of_class(c) for c in unlike[:_CLASSES_SHOWN])))
    if result.worst and result.worst[0][1] < 1:
        said = ", ".join(f"{name} (F1 {f1:.2f})" for name, f1 in result.worst[:_PICTURES_SHOWN])
        lines.append(line("Worst pictures", said))
    return lines


def _of_class(one: ClassPairing) -> str:
    counts = one.counts
    return f"{one.name} {counts.kept}/{counts.float_boxes} kept, {counts.new} new"


def _counts(pairing: Pairing) -> str:
    counts = pairing.counts
    iou = "" if math.isnan(counts.iou) else f", mean IoU {counts.iou:.3f}"
    return (
        f"{counts.kept} of {counts.float_boxes} kept{iou}, {counts.lost} lost "
        f"({counts.lost_below} of them have lower scores now), {counts.new} new"
    )


def _scores(pairing: Pairing) -> str:
    counts = pairing.counts
    text = f"above {pairing.score_threshold:.2g}"
    if not math.isnan(counts.shift_mean):
        text += f"; shifted by {counts.shift_mean:+.3f} on average"
    if not math.isnan(pairing.threshold):
        text += f"; a threshold of {pairing.threshold:.3f} finds as many boxes as the float model"
    return text


def _accuracy(accuracy: Accuracy) -> str:
    text = (
        f"AP {_percent(accuracy.ap)}, AP50 {_percent(accuracy.ap50)}, "
        f"AP75 {_percent(accuracy.ap75)}"
    )
    sizes = (("small", accuracy.small), ("medium", accuracy.medium), ("large", accuracy.large))
    known = [f"{name} {_percent(value)}" for name, value in sizes if not math.isnan(value)]
    return text + (f" ({', '.join(known)})" if len(known) > 1 else "")


def _difference(result: CheckResult) -> str:
    spread = result.difference
    if spread is None:
        return ""
    return (
        f"{100 * spread.difference:+.1f} points of mAP, {100 * spread.confidence:g} % interval "
        f"{100 * spread.low:+.1f} to {100 * spread.high:+.1f}"
    )


def _limit(limit: Limit) -> Text:
    return line(
        "Limit",
        f"{limit.option} {limit.limit:g}: {_met(limit)}",
        "green" if limit.met else "bold red",
    )


def _met(limit: Limit) -> str:
    value = "not measured" if math.isnan(limit.value) else f"{limit.value:.1f}"
    return f"{'holds' if limit.met else 'does not hold'}, {value}"


def _class_table(first: Accuracy, second: Accuracy) -> str:
    rows = [
        "| class | labels | float | quantized | difference |",
        "|---|---|---|---|---|",
        *(
            f"| {_cell(one.name)} | {one.labels} | {_percent(one.ap)} | {_percent(other.ap)} | "
            f"{100 * (other.ap - one.ap):+.1f} |"
            for one, other in zip(first.classes, second.classes, strict=True)
        ),
    ]
    return "\n".join(rows)


def _sizes(result: CheckResult) -> str:
    return f"{bytes_text(result.bytes_float)} → {bytes_text(result.bytes_quantized)}"


def _cell(text: str) -> str:
    """Text that breaks no table and is no markup."""
    for special in "\\`*_<>|[]":
        text = text.replace(special, "\\" + special)
    return " ".join(text.split())


def _code(text: str) -> str:
    """Text as code, between more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (text[:1] == "`" or text[-1:] == "`")
    return f"{fence}{space}{text}{space}{fence}"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"
