"""Names of classes from files and lists."""

import pytest

from zqc.detection.labels.names import given_names, read_names, read_yaml, yaml_names
from zqc.errors import LabelError


def write(path, text):
    """Write a file."""
    path.write_text(text)
    return path


def test_one_name_in_each_line(tmp_path):
    """Empty lines at the end do not count; one between two names would move the rest."""
    assert read_names(write(tmp_path / "c.txt", "traffic light\ncat \n\n")) == (
        "traffic light",
        "cat",
    )
    for text in ("cat\n\ndog\n", "", "\n"):
        with pytest.raises(LabelError, match=r"c\.txt must name one class in each line"):
            read_names(write(tmp_path / "c.txt", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [cat, dog]", ("cat", "dog")),
        ("names: {1: dog, 0: cat}", ("cat", "dog")),
        ("names: [1, no]", ("1", "False")),
    ],
)
def test_yaml_has_a_list_or_numbers(tmp_path, text, expected):
    """As Ultralytics writes either."""
    assert read_names(write(tmp_path / "d.yaml", text)) == expected


@pytest.mark.parametrize(
    "text", ["names: {1: dog}", "names: {a: dog}", "names: cat", "names: [[1]]"]
)
def test_other_names_in_yaml_are_refused(tmp_path, text):
    """Gaps and nested lists."""
    path = write(tmp_path / "d.yaml", text)
    with pytest.raises(LabelError, match=r"names in .*d\.yaml"):
        yaml_names(read_yaml(path), path)


def test_a_file_or_a_list_is_given(tmp_path):
    """Names with commas, however many, or one; what looks like a file must be there."""
    assert given_names("cat, dog") == ("cat", "dog")
    assert given_names("cat") == ("cat",)
    assert len(given_names(",".join(["traffic light"] * 80))) == 80
    assert given_names(str(write(tmp_path / "c.txt", "cat\ndog"))) == ("cat", "dog")
    with pytest.raises(LabelError, match="an empty one"):
        given_names("cat,,dog")
    for text in ("none.txt", "a" * 5000 + ".txt", "\0."):
        with pytest.raises(LabelError, match="cannot read the labels"):
            given_names(text)


@pytest.mark.parametrize(
    "text", ["a: [", "- 1", "", "!!python/object:os.system {}", "[" * 10**5, "a: !!int ''"]
)
def test_yaml_that_is_none_is_named(tmp_path, text):
    """Damaged, a list, empty, and what would run code, never end or raise all kinds of errors."""
    with pytest.raises(LabelError, match=r"d\.yaml"):
        read_yaml(write(tmp_path / "d.yaml", text))
