"""The table of what was measured."""

from tools.compare.peers.measure import Measured, Row, table


def test_the_table_shows_what_was_measured_and_why_the_rest_was_not():
    """Numbers stand in the table, reasons below it."""
    rows = [
        Row("A", "W8A8", "default", 64, 12.3, Measured(0.8, 0.7512, 0.25, 3, 4, latency=0.5)),
        Row("A", "W4A8", "default", 64, 12.3, Measured(0.8, 0.7512, 0.25, 3, 4)),
        Row("B", "W4A8", "default", 64, skipped="too slow"),
    ]
    text = table(rows)
    assert "| A | W8A8 | default | 64 | 75.1 | 0.250 | 0.50 × | 3/4 | 12 s |" in text
    assert "| A | W4A8 | default | 64 | 75.1 | 0.250 | – | 3/4 | 12 s |" in text
    assert text.endswith("\n\nB W4A8 (default) is skipped: too slow")
