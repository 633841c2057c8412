"""Files that are kept: bounded, shared, and never a reason to fail."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zqc.files.store import Store, user_cache, user_store


@pytest.fixture
def store(tmp_path):
    """A store of 100 bytes at most, whose folder is not there yet."""
    return Store(tmp_path / "some" / "folder", most=100)


def put(store, name, content=b"x"):
    """Keep a file of some bytes."""
    return store.write(name, lambda file: file.write(content))


def got(store, name):
    """What is kept."""
    return store.read(name, Path.read_bytes)


def test_what_is_kept_is_found(store):
    """Until it is removed; a second content takes the place of the first."""
    assert got(store, "a") is None
    assert put(store, "a", b"first")
    assert put(store, "a", b"second")
    assert got(store, "a") == b"second"
    store.remove("a")
    store.remove("a")
    assert got(store, "a") is None


def test_it_is_bounded(store, tmp_path):
    """Files that were not used for the longest time go, and what is too large is not kept."""
    for day, name in enumerate("abc"):
        put(store, name, b"x" * 30)
        os.utime(tmp_path / "some" / "folder" / name, (day, day))
    got(store, "a")
    put(store, "d", b"x" * 30)
    assert [name for name in "abcd" if got(store, name)] == ["a", "c", "d"]
    assert not put(store, "large", b"x" * 101)
    assert got(store, "large") is None


def test_a_damaged_file_goes(store, tmp_path):
    """What its reader cannot use is as if it had never been there."""

    def fails(path):
        raise ZeroDivisionError

    put(store, "a")
    assert store.read("a", fails) is None
    assert got(store, "a") is None
    (tmp_path / "some" / "folder" / "folder").mkdir()
    assert got(store, "folder") is None


def test_half_a_file_is_never_seen(store, tmp_path):
    """Whatever interrupts the writing."""

    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    put(store, "a", b"whole")
    with pytest.raises(KeyboardInterrupt):
        store.write("a", interrupted)
    assert got(store, "a") == b"whole"
    assert [path.name for path in (tmp_path / "some" / "folder").iterdir()] == ["a"]


def test_many_at_once(store, caplog):
    """Each finds whole files, of whomever they are, and what others remove is no trouble."""

    def work(number):
        name = "abcdef"[number % 6]  # together they are too large, so that some always go
        put(store, name, bytes([number]) * 30)
        found = got(store, name)
        return found is None or (len(found) == 30 and len(set(found)) == 1)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert caplog.text == ""


def test_a_folder_that_cannot_be_written(tmp_path, caplog):
    """It is no error, and said once."""
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "folder")
    assert not put(store, "a")
    assert not put(store, "b")
    assert got(store, "a") is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(tmp_path / "file" / "folder") in caplog.text


def test_the_folder_is_the_users(tmp_path, monkeypatch):
    """Where the user says, or the system's usual one; none where there is no home."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "zqc"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    for platform, folder in (
        ("linux", "/home/me/.cache/zqc"),
        ("darwin", "/home/me/Library/Caches/zqc"),
        ("win32", "/local/zqc/Cache"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert user_cache() == Path(folder)

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert user_cache() is None


def test_each_kind_has_a_folder_of_its_own(tmp_path, monkeypatch):
    """In the user's cache; there is no store for a user who has none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert put(user_store("kind"), "a")
    assert (tmp_path / "zqc" / "kind" / "a").read_bytes() == b"x"
    monkeypatch.setattr("zqc.files.store.user_cache", lambda: None)
    assert user_store("kind") is None
