"""Pascal VOC label files, good, damaged and hostile."""

import pytest

from zqc.detection.labels.voc import read_voc
from zqc.errors import LabelError


def text(name="dog", box=(1, 2, 30, 40), more=""):
    """Return a label file."""
    sides = "".join(
        f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<annotation><filename>old.jpg</filename><object><name>{name}</name>{more}"
        f"<bndbox>{sides}</bndbox></object></annotation>"
    )


def write(folder, **texts):
    """Write label files by stem."""
    files = [folder / f"{stem}.xml" for stem in texts]
    for file, content in zip(files, texts.values(), strict=True):
        file.write_text(content)
    return files


def test_objects_are_read(tmp_path):
    """Boxes from the first pixel on, classes by alphabet, difficult ones neither help nor harm."""
    files = write(
        tmp_path,
        a=text(),
        b=text("cat", more="<difficult>1</difficult>"),
        c="<?xml version='1.0' encoding='utf-8'?><annotation/>",
    )
    labels = read_voc(tmp_path, files)
    assert labels.categories == ("cat", "dog")
    assert labels.named
    assert not labels.ordered
    a, b, c = labels.of(["a.png", "b.png", "c.png"])
    assert (a.boxes.tolist(), a.labels.tolist(), a.crowd.tolist()) == ([[0, 1, 30, 40]], [1], [0])
    assert (b.labels.tolist(), b.crowd.tolist()) == ([0], [True])
    assert len(c) == 0


def test_files_that_count_from_0(tmp_path):
    """Where a corner is 0, which the format has not, coordinates are taken as they stand."""
    files = write(tmp_path, a=text(), b=text(box=(0, 5, 30, 40)))
    a, b = read_voc(tmp_path, files).of(["a.png", "b.png"])
    assert (a.boxes.tolist(), b.boxes.tolist()) == ([[1, 2, 30, 40]], [[0, 5, 30, 40]])


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "not XML"),
        ("", "not XML"),
        ("<html/>", "begins with <html>"),
        (BOMB, "document type"),
        (text(name=""), "has no name"),
        (text(box=(1, 2, "x", 4)), "1, 2, x, 4"),
        (text(box=(9, 2, 3, 4)), "9, 2, 3, 4"),
        (text(box=(1, 2, "inf", 4)), "inf"),
        (text(box=("nan", 2, 3, 4)), "nan"),
        (text().replace("bndbox", "box"), "nothing"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    """Each error names the file and what is wrong in it; no entity is ever expanded."""
    with pytest.raises(LabelError, match=message) as error:
        read_voc(tmp_path, write(tmp_path, a=content))
    assert "a.xml" in str(error.value)


def test_files_that_are_no_text_are_named(tmp_path):
    """A file in another encoding cannot hide a document type."""
    (tmp_path / "a.xml").write_bytes(BOMB.encode("utf-16"))
    with pytest.raises(LabelError, match=r"a\.xml"):
        read_voc(tmp_path, [tmp_path / "a.xml"])
