"""The table of a sweep."""

from pathlib import Path

from zqc.commands.sweep_result import Run, SweepResult, ranked


def run(bits, **more):
    """A run of so many bits."""
    return Run(values={"bits": bits, "seed": 0}, recipe="", output=Path(f"{bits}.onnx"), **more)


def result(*runs, **more):
    """A sweep of these runs."""
    marked, best = ranked(runs)
    options = {"reused": 0, "judged_on": "32 pictures", "seconds": 75.0} | more
    return SweepResult(output=Path("out"), runs=marked, best=best, bytes_float=3_000_000, **options)


def test_the_best_comes_first_and_failures_have_a_reason():
    """Columns of which nothing is known are left out."""
    text = str(
        result(
            run(4, agreement=0.953, sqnr_db=21.26, bytes=500, size=0.1654, verdict="good"),
            run(8, agreement=0.981, sqnr_db=30.0, bytes=900, size=0.278, verdict="good"),
            run(3, agreement=0.9, sqnr_db=18.0, bytes=600, size=0.2, verdict="broken"),
            run(2, error="too few"),
        )
    )
    assert text.splitlines() == [
        "Tried            4 recipes in 75 s",
        "Judged on        32 pictures",
        "Float model      3.00 MB",
        "  bits  seed  agreement  SQNR     size   time  verdict",
        "* 8     0     98.1%      30.0 dB  0.278  0 s   good",
        "* 4     0     95.3%      21.3 dB  0.165  0 s   good",
        "  3     0     90.0%      18.0 dB  0.200  0 s   broken",
        "* no other file is as small and as good",
        "Failed           bits 2, seed 0: too few",
        "Best             8.onnx",
        "Written          out",
    ]


def test_nothing_but_failures_is_no_table():
    """And has no best."""
    text = str(result(run(2, error="too few"), reused=1))
    assert text.splitlines() == [
        "Tried            1 recipe in 75 s, 1 of them by an earlier sweep",
        "Judged on        32 pictures",
        "Float model      3.00 MB",
        "Failed           bits 2, seed 0: too few",
        "Written          out",
    ]
