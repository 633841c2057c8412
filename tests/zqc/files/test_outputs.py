"""What was written is known at any moment, and so is what was to be written and is not."""

from pathlib import Path

import pytest

from zqc.files.atomic import atomic_directory, write_text
from zqc.files.outputs import missing, noting_outputs, written
from zqc.files.places import check_directory, check_file


def test_what_is_written_and_what_is_missing(tmp_path):
    """By the names that the user gave, once each; nothing outside of the context."""
    model, report, folder = (tmp_path / name for name in ("m.onnx", "r.html", "pictures"))
    report.write_text("old")
    with noting_outputs():
        for path in (model, report):
            check_file(path)
        check_directory(folder)
        assert (written(), missing()) == ((), (model, report, folder))
        for _ in range(2):
            write_text(model, "new")
        with atomic_directory(folder) as new:
            (new / "a").touch()
        assert (written(), missing()) == ((model, folder), (report,))
    assert (written(), missing()) == ((), ())


@pytest.mark.parametrize("renamed", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_a_signal_at_the_rename(renamed, older, tmp_path, monkeypatch):
    """Ctrl-C right behind the rename finds the new file written, right before it does not."""
    path, replace = tmp_path / "m.onnx", Path.replace
    if older:
        path.write_text("old")

    def interrupted(self, target):
        if renamed:
            replace(self, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with noting_outputs():
        with pytest.raises(KeyboardInterrupt):
            write_text(path, "new")
        assert (written(), missing()) == (((path,), ()) if renamed else ((), (path,)))
