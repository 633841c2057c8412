"""What became of a case: refused with an error of zqc's own, right, or neither.

A number makes a case, always the same one: of six, four are models to compile, one is a model to
compare, and one another input. One in ``WHOLE`` is compiled as a whole, by way of child processes;
the others are read and run here.
"""

import logging
import math
import re
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import onnx

import zqc
from tests.fuzz import seeds
from tests.fuzz.inputs import KINDS, changed
from tests.fuzz.mutations import mutated, pick
from zqc.commands import pair
from zqc.errors import RuntimeFailure, ZqcError
from zqc.model_io import child, model_file, preparation, trial
from zqc.pictures.model_input import fixed_batch, picture_shape
from zqc.runtime import session

WHOLE = 120
LEAST_SQNR_DB = 20.0
"""Between a file and what is read of it: half precision in float32 differs by less."""

LEAST_OF_GOOD = 10.0
"""Between a file and what is made of it at 8 bits, where the verdict is that it is good."""

LONGEST_MESSAGE = 600


class Found(NamedTuple):
    """What became of a case.

    Attributes:
        kind: ``model``, ``pair``, ``compiled`` or what other input it is.
        outcome: ``accepted``, ``refused``, ``unexpected`` or ``different``.
        said: The message, or what is wrong.
    """

    kind: str
    outcome: str
    said: str = ""


def case(number):
    """The file of a case: what it is, the ending of its name, and its bytes."""
    rng = np.random.default_rng(number)
    if number % 6 == 5:
        name = list(KINDS)[(number // 6) % len(KINDS)]
        return name, KINDS[name].ending, changed(pick(rng, KINDS[name].seeds), rng)
    kind = "pair" if number % 6 == 1 else "model"
    return kind, ".onnx", mutated(_source(number), rng, small=number % WHOLE == 0)


def _source(number):
    """The model that a case is a mutation of."""
    return pick(np.random.default_rng([number, 1]), seeds.models())


def judged(number, folder):
    """Try a case in this process, and say what became of it."""
    kind, ending, content = case(number)
    path = Path(folder) / f"case{ending}"
    path.write_bytes(content)
    whole = kind == "model" and number % WHOLE == 0
    try:
        if whole:
            wrong = _compiled(path)
        elif kind == "model":
            wrong = _read(path, simplify=number % 7 == 0)
        elif kind == "pair":
            _paired(path, _source(number))
            wrong = ""
        else:
            KINDS[kind].read(path)
            wrong = ""
    except ZqcError as error:
        wrong = _bad_message(str(error))
        return Found(kind, "unexpected" if wrong else "refused", wrong or str(error))
    except Exception as error:
        return Found(kind, "unexpected", f"{type(error).__name__}: {error}"[:300])
    return Found("compiled" if whole else kind, "different" if wrong else "accepted", wrong)


def _bad_message(message):
    """What is wrong with a message: it is too long, or shows the error of a library."""
    if len(message) > LONGEST_MESSAGE or message.count("\n") > 1:
        return f"a message of {len(message)} characters: {message[:200]}"
    return f"a raw error: {message[:200]}" if re.search(r"Traceback|<class |0x7f", message) else ""


def _read(path, *, simplify):
    """Load a model in this process; say how what is read differs from the file."""

    def prepared(proto, **options):
        return preparation.prepared(proto, **options, simplify=simplify)

    with patch.object(child, "prepared", prepared):
        loaded = model_file.load(path)
    if not loaded.ends_run:
        return ""
    return _difference(path.read_bytes(), loaded, loaded.runnable(), LEAST_SQNR_DB)


def _paired(path, source):
    """Open a model as check does, beside the one that it was before."""
    other = path.with_name("other.onnx")
    other.write_bytes(source.SerializeToString())

    def try_out(proto):
        trial.run_alone(proto.SerializeToString())

    with patch.object(child, "try_out", try_out):
        opened = pair.open_pair((other, path), input_shape=None, values={}, threads=1)
    opened.run(np.ones(opened.shape, np.float32))


def _compiled(path):
    """Compile a model as users do; say how the result differs by more than quantization."""
    loaded = model_file.load(path)
    pictures = np.random.default_rng(1).uniform(size=(4, *picture_shape(loaded.model)))
    output = path.with_suffix(".out.onnx")
    output.unlink(missing_ok=True)
    try:
        result = zqc.compile(
            path, output, effort="quick", images=pictures.astype(np.float32), input_format=FORMAT
        )
    except ZqcError as error:
        assert not output.exists(), "something was written in spite of an error"
        if "ONNX Runtime cannot load" in str(error):  # the file itself has been run before
            return f"what zqc made of it does not run: {error}"
        raise
    zqc.inspect(path)
    if not loaded.ends_run or result.verdict.word != "good":
        return ""
    return _difference(path.read_bytes(), loaded, output.read_bytes(), LEAST_OF_GOOD)


FORMAT = zqc.InputFormat()


def _difference(file, loaded, other, least):
    """How the outputs of a model differ from those of the file that it was made of."""
    shape = (fixed_batch(loaded.model) or 1, *picture_shape(loaded.model))
    tensor = np.random.default_rng(1).uniform(size=shape).astype(np.float32)
    feeds = loaded.interface.taken.feeds(tensor)
    try:
        expected = session.load(file, threads=1, optimize=False)(feeds)
    except RuntimeFailure as error:
        return f"accepted, but the file does not run: {error}"[:300]
    found = session.load(other, threads=1, optimize=False)(feeds)
    if list(expected) != list(found):
        return f"the outputs are {list(found)}, not {list(expected)}"
    kinds = {node.op_type for node in onnx.ModelProto.FromString(file).graph.node}
    if kinds & {"TopK", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression", "Unique", "Compress"}:
        return ""
    for name, one in expected.items():
        two = found[name]
        if not isinstance(one, np.ndarray):
            continue
        if (one.shape, one.dtype) != (two.shape, two.dtype):
            return f"{name} is {two.dtype}{two.shape}, not {one.dtype}{one.shape}"
        if one.dtype.kind == "f" and name not in loaded.ends.reasons:
            sqnr = _sqnr(one.astype(np.float64), two.astype(np.float64))
            if sqnr < least:
                return f"{name} has an SQNR of {sqnr:.1f} dB"
    return ""


def _sqnr(one, two):
    both = np.isfinite(one) & np.isfinite(two)
    if (np.isfinite(one) != np.isfinite(two)).any():
        return -math.inf
    with np.errstate(over="ignore"):
        signal, noise = np.square(one[both]).sum(), np.square((one - two)[both]).sum()
    if noise <= 1e-12 or not np.isfinite(signal):
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def quiet():
    """Keep the log out of the way."""
    stack = ExitStack()
    logging.disable(logging.CRITICAL)
    stack.callback(logging.disable, logging.NOTSET)
    return stack
