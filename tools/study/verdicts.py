"""How often the verdict of zqc is right: pairs of models of which it is known from elsewhere.

    python -m tools.study.verdicts FOLDER [--models DIR --pictures DIR]

FOLDER keeps what is compiled, so that a second run only checks. Each pair is a float detector and
a quantized file. What it should be called is known

- of a file that was broken on purpose (``tools.study.spoil``): *broken*;
- of the example: from mAP against its labels, by the limits of ``zqc.detection.verdict``;
- of other detectors: from the agreement of detections on real pictures, by the same limits.

The columns: what zqc says with real pictures and no labels, and what it says without any picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

import zqc
from tools.study import spoil
from tools.study.cases import EXAMPLE, Case, shared_cases
from zqc.commands.check_result import CheckResult

WORDS = ("good", "usable with care", "broken", "not judged")
QUICK: Mapping[str, object] = {"effort": "quick"}
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "W8A8": {},
    "W6A8": {"bits": 6},
    "W4A8": {"bits": 4},
    "W3A8": {"bits": 3},
    "W2A8": {"bits": 2},
    "W8A4": {"act_bits": 4},
    "W4A4": {"bits": 4, "act_bits": 4},
}
FEW = ("W8A8", "W4A8", "W4A4", "W2A8")
"""What larger detectors are tried with, as that takes minutes each."""

SPOILED = 10
"""Layers of the example whose scale is off, drawn with the seed 0."""


@dataclass(frozen=True)
class Pair:
    """A quantized file to judge.

    Attributes:
        case: Its float model, and the pictures.
        name: What was done.
        file: The file.
        broken: Whether it was broken on purpose.
    """

    case: Case
    name: str
    file: Path
    broken: bool = False


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--models", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pictures", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--only", help="Only the detector whose file is called so, without its ending.")
def main(folder: Path, models: Path | None, pictures: Path | None, only: str | None) -> None:
    """Judge every pair, and count how often the verdict is right."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = [EXAMPLE]
    if models is not None and pictures is not None:
        cases += [case for case in shared_cases(models, pictures) if case.model.exists()]
    cases = [case for case in cases if only in (None, case.name)]
    counted: dict[str, Counter[tuple[str, str]]] = {"real": Counter(), "made up": Counter()}
    print("| model | file | should be | why | real pictures | made-up pictures |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        made = _made(case, folder)
        for pair in _pairs(case, folder):
            seen = _checked(pair, case.pictures, labelled=True)
            expected, why = _expected(pair, seen)
            real = _checked(pair, case.pictures, labelled=False) if case.labels else seen
            alone = _checked(pair, made, labelled=False)
            counted["real"][expected, real.verdict.word] += 1
            counted["made up"][expected, alone.verdict.word] += 1
            cells = (case.name, pair.name, expected, why, _cell(real), _cell(alone))
            print(f"| {' | '.join(cells)} |", flush=True)
    for name, counts in counted.items():
        print(f"\nWith {name} pictures, rows what it should be:\n")
        for line in _table(counts):
            print(line)


def _pairs(case: Case, folder: Path) -> Iterator[Pair]:
    for name in OPTIONS if case is EXAMPLE else FEW:
        options = OPTIONS[name]
        file = folder / f"{case.name}.{name}.onnx"
        if not file.exists():
            samples = None if case is EXAMPLE else 8
            recipe = case.recipe(**QUICK, samples=samples, **options)
            zqc.compile(case.model, file, recipe=recipe)
        yield Pair(case, name, file)
    if case is EXAMPLE:
        yield from _spoiled(case, folder / f"{case.name}.W8A8.onnx", folder)


def _spoiled(case: Case, file: Path, folder: Path) -> Iterator[Pair]:
    count = 63
    heads = ("/heads.0/score/score.2/Conv", "/heads.1/score/score.2/Conv")
    spoils = {
        "boxes and scores on one scale": spoil.one_scale,
        "classes in another order": spoil.permuted_classes([*range(1, 10), 0]),
        "two classes swapped": spoil.permuted_classes([1, 0, *range(2, 10)]),
        "two heads swapped": spoil.swapped_heads(*heads),
    }
    drawn = np.random.default_rng(0).choice(count, SPOILED, replace=False)
    for place, index in enumerate(map(int, drawn)):
        factor = 8 if place % 2 == 0 else 1 / 8
        spoils[f"scale of layer {index} × {factor:g}"] = spoil.scale_off(index, factor)
    for number, (name, broken) in enumerate(spoils.items()):
        target = folder / f"{case.name}.broken{number}.onnx"
        if not target.exists():
            spoil.spoiled(file, target, broken)
        yield Pair(case, name, target, broken=True)


def _made(case: Case, folder: Path) -> Path:
    """Pictures that no file was calibrated with."""
    directory = folder / f"{case.name}.pictures"
    if not directory.exists():
        recipe = case.recipe(**QUICK, samples=32 if case is EXAMPLE else 8, seed=1)
        zqc.synthesize(case.model, directory, recipe=recipe)
    return directory / "pictures.npz"


def _checked(pair: Pair, images: Path, *, labelled: bool) -> CheckResult:
    case = pair.case
    return zqc.check(
        case.model,
        pair.file,
        images=images,
        labels=case.labels if labelled else None,
        anchors=case.anchors,
        input_format=case.input_format,
        input_shape=case.input_shape,
    )


def _expected(pair: Pair, seen: CheckResult) -> tuple[str, str]:
    """What a pair should be called, and why."""
    if pair.broken:
        return "broken", "on purpose"
    if seen.accuracy_float is not None and seen.accuracy_quantized is not None:
        before, after = seen.accuracy_float.ap, seen.accuracy_quantized.ap
        why = f"mAP {100 * before:.1f} → {100 * after:.1f}"
        if after < before / 2:
            return "broken", why
        return "good" if before - after <= 0.02 else "usable with care", why
    if seen.agreement is None:
        return seen.verdict.word, "no detections"
    ap = seen.agreement.ap
    why = f"agreement {100 * ap:.1f} %"
    if ap < 0.5:
        return "broken", why
    return "good" if ap >= 0.95 else "usable with care", why


def _cell(result: CheckResult) -> str:
    agreed = "" if result.agreement is None else f", {100 * result.agreement.ap:.1f} %"
    return f"{result.verdict.word}{agreed}"


def _table(counts: Counter[tuple[str, str]]) -> Sequence[str]:
    words = [word for word in WORDS if any(word in pair for pair in counts)]
    lines = [f"| | {' | '.join(words)} |", "|---" * (len(words) + 1) + "|"]
    for expected in words:
        row = [str(counts[expected, said]) for said in words]
        lines.append(f"| {expected} | {' | '.join(row)} |")
    return lines


if __name__ == "__main__":
    main()
