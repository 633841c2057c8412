"""Some hundred mutated models and other inputs: refused with an error of zqc's own, or right."""

import onnx
import pytest

from tests.fuzz import oracle
from tests.fuzz.inputs import KINDS
from tests.fuzz.seeds import models
from zqc.errors import AlreadyQuantizedError, ImageError

WRONG = ("unexpected", "different")


@pytest.fixture(autouse=True)
def silence():
    """Mutants make much noise in the log."""
    with oracle.quiet():
        yield


def test_seeds_are_sound(tmp_path):
    """What is mutated is read and right before that, but for what is quantized already."""
    for index, model in enumerate(models()):
        path = tmp_path / "seed.onnx"
        path.write_bytes(model.SerializeToString())
        try:
            assert oracle._read(path, simplify=False) == "", index
        except AlreadyQuantizedError:
            assert index == len(models()) - 1
    for kind in KINDS.values():
        for content in kind.seeds:
            path = tmp_path / f"seed{kind.ending}"
            path.write_bytes(content)
            try:
                kind.read(path)
            except ImageError as error:
                assert str(error).endswith("with 8 or 16 bits"), error  # noqa: PT017


@pytest.mark.skipif(
    tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 22),
    reason="shape inference of onnx 1.21 can crash; of users it is a child process that does",
)
@pytest.mark.parametrize("part", range(4))
def test_cases(part, tmp_path):
    """The first cases of ``make fuzz``, in parts that run side by side; none is compiled."""
    numbers = [n for n in range(1, 601) if n % 4 == part and n % oracle.WHOLE]
    found = {number: oracle.judged(number, tmp_path) for number in numbers}
    assert {n: f for n, f in found.items() if f.outcome in WRONG} == {}
    assert {"accepted", "refused"} <= {one.outcome for one in found.values()}


@pytest.mark.child_process
def test_a_whole_compilation(tmp_path):
    """One in so many is compiled by way of child processes, and its result compared."""
    assert oracle.judged(0, tmp_path).outcome in ("accepted", "refused")
