"""A pickle is read, whatever it holds, and nothing in it is run."""

import collections
import io
import pickle
import time
import tracemalloc

import pytest

from tests.zqc.statistics.files import hostile
from zqc.errors import StatisticsError
from zqc.statistics.files.pickle_names import Name
from zqc.statistics.files.pickles import Record, read_pickle


def read(content, **options):
    """Read a pickle."""
    return read_pickle(io.BytesIO(content), "model.pt", **options)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_of_every_protocol(protocol):
    """Containers, numbers and texts come out as they went in; sets as lists."""
    value = {
        "a": [1, -2, 1 << 70, 0.5, None, True, "ü"],
        "b": (1, (2, 3), (), (4, 5, 6, 7)),
        3: {},
        "c": collections.OrderedDict(x=1, y=[2]),
    }
    found = read(pickle.dumps(value, protocol))
    assert found == value
    assert read(pickle.dumps({7}, protocol)) == [7]


def test_objects_become_records():
    """Of an object its class, its arguments and its attributes are kept, as they are written."""
    found = read(b"\x80\x02cmine\nNet\nK\x05\x85R}X\x03\0\0\0epsG?\xe0\0\0\0\0\0\0sb.")
    assert isinstance(found, Record)
    assert (found.of, found.arguments, found.state) == (Name("mine", "Net"), (5,), {"eps": 0.5})
    counted = read(pickle.dumps(collections.Counter("aab"), 2))
    assert str(counted.of) == "collections.Counter"


def test_what_is_read_can_be_looked_up():
    """Calls and persistent ids are given to the reader of the file, which says what they are."""
    content = b"\x80\x02cmine\nadd\nK\x02K\x03\x86RX\x01\0\0\0kQ\x86."
    found = read(content, call=lambda name, given: (str(name), *given), persistent=str.upper)
    assert found == (("mine.add", 2, 3), "K")


@pytest.mark.parametrize("name", sorted(set(hostile.attacks("mark")) - {"nested without end"}))
def test_attacks_are_refused_and_run_nothing(name, tmp_path):
    """Every classic attack ends in one message that names it, and leaves no trace."""
    mark = tmp_path / "mark"
    content, pattern = hostile.attacks(mark)[name]
    persistent = _no_storage if "storage" in name else None
    with pytest.raises(StatisticsError, match=pattern):
        read(content, persistent=persistent)
    assert not mark.exists()


def _no_storage(told):
    raise StatisticsError(f"no storage: {told[0]}")


@pytest.mark.parametrize("name", ["os.system", "eval", "getattr chain", "INST", "OBJ", "partial"])
def test_the_attacks_are_real(name, tmp_path):
    """Python's own reader runs them."""
    mark = tmp_path / "mark"
    pickle.loads(hostile.attacks(mark)[name][0])
    assert mark.exists()


@pytest.mark.parametrize("name", hostile.harmless("mark"))
def test_tricks_are_data(name, tmp_path):
    """Poisoned attributes, memos of any index and loops are read without calls and memory."""
    mark = tmp_path / "mark"
    tracemalloc.start()
    read(hostile.harmless(mark)[name])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not mark.exists()
    assert peak < 1_000_000


def test_a_short_program_cannot_make_much(monkeypatch):
    """Copies count as operations: a list put into ever new dicts ends."""
    monkeypatch.setattr("zqc.statistics.files.pickles._MOST_OPERATIONS", 50_000)
    many = b"\x80\x02(" + b"N" * 2000 + b"tq\0" + b"cbuiltins\nlist\nh\0\x85R0" * 2000 + b"N."
    start = time.monotonic()
    with pytest.raises(StatisticsError, match="more than 50000 operations"):
        read(many)
    assert time.monotonic() - start < 1
    state = b"\x80\x02}q\0(" + b"".join(b"K%cN" % i for i in range(200)) + b"u"
    build = b"cmine\nNet\n)\x81h\0b0"
    with pytest.raises(StatisticsError, match="more than 50000 operations"):
        read(state + build * 1000 + b".")
