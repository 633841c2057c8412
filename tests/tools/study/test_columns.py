"""Tables with a column for each way that something inside of zqc is done."""

from contextlib import contextmanager, nullcontext

from click.testing import CliRunner

from tools.study import columns, equalized_forms
from zqc import pipeline


def test_each_column_is_compiled_within_its_own_way(monkeypatch, tmp_path):
    """Every seed of it, and nothing of it is left for the next column."""
    within, seen = [], []

    @contextmanager
    def other():
        within.append("other")
        yield
        within.clear()

    def measured(case, fields, seed, threads):
        seen.append((case.name, tuple(within), fields["act_bits"], seed))
        return {"AP": 90.0 + seed, "seconds": 1.0}

    monkeypatch.setattr(columns, "_measured", measured)
    command = columns.study({"other": other, "default": nullcontext})
    arguments = [str(tmp_path), str(tmp_path), "--seeds", "0,1", "--detectors", "detector"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    ways = [("detector", way, 4, seed) for way in (("other",), ()) for seed in (0, 1)]
    assert seen == ways
    header, _, row = result.output.splitlines()
    assert header == "| detector | bits | other | default |"
    assert row.startswith("| detector | W4A4 | AP 90.5 (90.0…91.0)")


def test_forms_are_forced():
    """The first or the last candidate is taken, whatever its activations cost, and not for good."""
    better = pipeline._better
    with equalized_forms.COLUMNS["none"]():
        assert pipeline._better(None, ["plain", "equalized"], None) == "plain"
    with equalized_forms.COLUMNS["2.0"]():
        assert pipeline._better(None, ["plain", "equalized"], None) == "equalized"
    assert pipeline._better is better
